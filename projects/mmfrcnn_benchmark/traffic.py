"""What operators allocate and move, counted as they are dispatched.

Without a value: under torch's ``FakeTensorMode`` a step of any size is counted on any
device, a GPU that is not there too.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Traffic(TorchDispatchMode):
    """Counts the operators that move data, their bytes, and those that live at a time.

    What a registered operator does within is its own: call what it calls to count it.

    Attributes:
        launches (int): Operators that compute something, views left out.
        moved (int): Bytes that they read and write.
        peak (int): Most bytes of their results that were alive at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.moved = self.peak = 0
        self._alive: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Count a call."""
        results = function(*args, **(kwargs or {}))
        given, made = _tensors((args, kwargs)), _tensors(results)
        if made and not function.is_view:
            self.launches += 1
            self.moved += sum(map(_bytes_of, given + made))
        storages = [one.untyped_storage() for one in given]
        for storage in (one.untyped_storage() for one in made):
            if storage._cdata not in [one._cdata for one in storages]:
                self._alive[StorageWeakRef(storage)] = storage.nbytes()
        for storage in [one for one in self._alive if one.expired()]:
            del self._alive[storage]
        self.peak = max(self.peak, sum(self._alive.values()))
        return results


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _bytes_of(tensor: Tensor) -> int:
    """Bytes of the elements, those that a broadcast repeats counted once."""
    count = tensor.element_size()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride else 1
    return count
