"""How much a checkpoint file may ask for: no more than it holds.

Weights-only loading executes nothing, and still believes what a file says of sizes: a
few kilobytes can declare a tensor of terabytes over one number. torch writes each
weight out in full, so what is larger than its file was made to harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmfrcnn.errors import UserError

DEEPEST = 100
"""Containers in containers: mmengine copies what it loads, a call for each."""


def check_contents(loaded: Any, path: str) -> None:
    """Check that what was loaded is no deeper and no larger than a file can hold.

    Args:
        loaded (Any): What the file held.
        path (str): The file, or an address, of which the size is not known.

    Raises:
        UserError: If a tensor is larger than the file, a container is too deep, or a
            dict is of other methods than a dict.
    """
    file = Path(path).expanduser()
    size = file.stat().st_size if file.is_file() else None
    for one in _all(loaded, path):
        if isinstance(one, Tensor) and size is not None and _bytes(one) > size:
            raise UserError(
                f'{path} was not loaded: it declares a tensor {tuple(one.shape)}, '
                f'larger than the file of {size} bytes. Use another'
            )
        if isinstance(one, Mapping) and getattr(one, '__dict__', {}).keys() - METADATA:
            raise UserError(
                f'{path} was not loaded: it replaces methods of a dict. Use another'
            )


METADATA = {'_metadata'}
"""What torch sets on the dict of weights, beside its items."""


def _bytes(tensor: Tensor) -> int:
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_meta:
        return 0  # what may hold fewer numbers than it has; no model takes one
    return tensor.numel() * tensor.element_size()


def _all(loaded: Any, path: str) -> Iterator[Any]:
    """Go through containers and what is in them, each once, level by level."""
    level, seen = [loaded], {id(loaded)}
    for _ in range(DEEPEST):
        inside: list[Any] = []
        for one in level:
            yield one
            parts = one.values() if isinstance(one, Mapping) else one
            if isinstance(one, Mapping | list | tuple | set):
                inside += parts
        level = []
        for one in inside:
            if id(one) not in seen:
                seen.add(id(one))
                level.append(one)
        if not level:
            return
    raise UserError(
        f'{path} was not loaded: it has more than {DEEPEST} lists or dicts in each '
        'other. Use another'
    )
