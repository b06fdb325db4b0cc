"""From one framework's names of tensors to another's, none lost and none made up.

A source's architecture is a list of `Row`: the name there, the name here, the shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmfrcnn.errors import UserError

SHOWN = 8  # names in a message; the rest is counted
COUNTER = 'num_batches_tracked'


@dataclass(frozen=True)
class Row:
    """One tensor of a source.

    Attributes:
        source (str): Its name there.
        target (str): Its name here.
        shape (tuple[int, ...]): Its shape there.
    """

    source: str
    target: str
    shape: tuple[int, ...]


@dataclass
class Weights:
    """The weights of a detector.

    Attributes:
        tensors (dict[str, Tensor]): By the names of our model's ``state_dict``.
        extras (dict[str, Tensor]): What the source has beyond them, kept so that it can
            be given back: ``NAME`` for the unused rows of a tensor, ``has_counters``.
    """

    tensors: dict[str, Tensor]
    extras: dict[str, Tensor] = field(default_factory=dict)


def check_rows(
    tensors: Mapping[str, Tensor], rows: Sequence[Row], name: str, path: str
) -> None:
    """Check that a file has each tensor of an architecture, and no other.

    Batch counters, which some files have and others not, may be absent.

    Raises:
        UserError: That names the missing, the unknown, and those of another shape.
    """
    known = {row.source: row for row in rows}
    missing = [key for key in known if key not in tensors and COUNTER not in key]
    unknown = [key for key in tensors if key not in known]
    shapes = [
        f'{key} {tuple(tensors[key].shape)} instead of {row.shape}'
        for key, row in known.items()
        if key in tensors and tuple(tensors[key].shape) != row.shape
    ]
    troubles = [
        f'{len(names)} {what}: {_shown(names)}'
        for names, what in (
            (missing, 'missing'),
            (unknown, 'not of it'),
            (shapes, 'of another shape'),
        )
        if names
    ]
    if troubles:
        raise UserError(
            f'{path} looks like {name}, but its tensors do not agree; '
            f'{"; ".join(troubles)}. Nothing was written'
        )


def rename(tensors: Mapping[str, Tensor], rows: Sequence[Row]) -> dict[str, Tensor]:
    """Return the tensors by the names here, with every batch counter of the rows."""
    return {
        row.target: tensors.get(row.source, torch.tensor(0))  # else a counter: none yet
        for row in rows
    }


def rename_back(tensors: Mapping[str, Tensor], rows: Sequence[Row]) -> dict:
    """Return the tensors by the source's names, in its order."""
    return {row.source: tensors[row.target] for row in rows}


def _shown(names: Iterable[str]) -> str:
    names = list(names)
    more = f', and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more
