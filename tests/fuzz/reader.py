"""What is fuzzed, and how its outcome is judged."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

LONGEST = 2000
"""Letters of a message that can be read."""
UNPRINTABLE = ('Cc', 'Cs', 'Zl', 'Zp')
"""Kinds of letters: control characters, halves of others, ends of lines."""


class NoOpinionError(Exception):
    """The reference cannot say what a file holds."""


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Attributes:
        name: What it is called on the command line.
        prepare: Writes what stays the same into a folder.
        write: Writes one case into it. Whether what it says is what the valid file
            says, so that it must be read.
        read: Reads the folder, as the package does.
        reference: Reads it independently, or raises `NoOpinionError`.
        share: Of the cases, beside the other readers'.
    """

    name: str
    prepare: Callable[[Path], None]
    write: Callable[[Random, Path], bool]
    read: Callable[[Path], Any]
    reference: Callable[[Path], Any]
    share: float = 1.0


def no_opinion(folder: Path) -> Any:
    """Be the reference where there is none."""
    raise NoOpinionError


def fault_of_message(message: str, folder: Path) -> str:
    """Say what keeps a message from being one clear line, or ''."""
    if str(folder) not in message and not message.startswith('/'):  # what a list names
        return 'it does not name the file'
    text = message.replace(str(folder), '')
    if any(unicodedata.category(char) in UNPRINTABLE for char in text):
        return 'it is not one line of printable letters'
    return f'it has {len(text)} letters' if len(text) > LONGEST else ''


def alike(one: Any, other: Any) -> bool:
    """Whether two values are equal, numbers up to rounding.

    Boxes are if no side of either is usable: sums of the largest numbers are infinite.
    """
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-6)
    if _is_box(one) and _is_box(other) and not (_usable(one) and _usable(other)):
        return _usable(one) == _usable(other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    return one == other


def _is_box(value: Any) -> bool:
    is_tuple = isinstance(value, tuple) and len(value) == 4
    return is_tuple and all(isinstance(side, float) for side in value)


def _usable(box: tuple[float, ...]) -> bool:
    return all(abs(side) < 1e300 for side in box)
