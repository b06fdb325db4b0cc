"""Which implementation of an op runs: the one place that looks at a device.

An op with several is a folder: ``reference`` in plain operators that never ask the
device for a value, for any device; ``cpu`` where a processor has a shorter way.

An operator that is registered with torch (``nms``) is chosen by torch's dispatcher.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch import Tensor

Backend = Literal['cpu', 'reference']

_chosen: Backend | None = None


def backend_of(tensor: Tensor) -> Backend:
    """Return the implementation for tensors where this one lives."""
    if _chosen is not None:
        return _chosen
    return 'cpu' if tensor.device.type == 'cpu' else 'reference'


@contextmanager
def using(backend: Backend) -> Iterator[None]:
    """Run one implementation, wherever tensors live: to compare and to count."""
    global _chosen
    before, _chosen = _chosen, backend
    try:
        yield
    finally:
        _chosen = before
