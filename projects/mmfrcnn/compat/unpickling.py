"""What every reader of pickles here has in common, torch's weights-only one too.

A pickle may take back, by its number in a memo, what it made before. So a few hundred
bytes make a tuple of tuples that would take years to compare, and as a key of a dict it
is; and a number of its own choice makes some memos take gigabytes.
"""

from __future__ import annotations

import pickle
from typing import Any

from torch import _weights_only_unpickler as weights_only

MOST_PARTS = 100_000


class Memo(dict):
    """Objects by their number, of which tuples are not made of each other endlessly."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: dict[int, int] = {}

    def __setitem__(self, number: int, value: Any) -> None:
        super().__setitem__(number, value)
        if isinstance(value, tuple):
            self._parts[id(value)] = self._count(value)

    def _count(self, value: Any) -> int:
        """Count the parts of a tuple, one that is in it twice as two.

        Raises:
            pickle.UnpicklingError: If they are too many.
        """
        if not isinstance(value, tuple):
            return 1
        if id(value) in self._parts:
            return self._parts[id(value)]
        count = 1 + sum(map(self._count, value))
        if count > MOST_PARTS:
            raise pickle.UnpicklingError(f'a tuple of more than {MOST_PARTS} parts')
        return count


class WeightsUnpickler(weights_only.Unpickler):
    """torch's weights-only reader with the memo above."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.memo = Memo()


def install() -> None:
    """Have torch read with it, and make no bytearrays: their size is a number alone."""
    weights_only.Unpickler = WeightsUnpickler  # type: ignore[misc]
    weights_only._get_allowed_globals().pop('builtins.bytearray', None)
