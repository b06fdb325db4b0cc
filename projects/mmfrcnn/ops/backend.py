"""Which implementation of an op runs: the one place that looks at a device.

An op with several is a folder: ``reference`` in plain operators that never ask the
device for a value, for any device; ``cpu`` where a processor has a shorter way;
``cuda``, a Triton kernel. A kernel runs where Triton and a card are and its results on
that card, looked at once, are the reference's. ``MMFRCNN_KERNELS=reference`` in the
environment chooses the plain operators.

The choice is made inside an operator that is registered with torch
(``torch.library.custom_op``), so that nothing is looked at while a graph is traced.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

Backend = Literal['cpu', 'cuda', 'reference']
SelfCheck = Callable[[torch.device], None]

SWITCH = 'MMFRCNN_KERNELS'

_chosen: Backend | None = None


def backend_of(tensor: Tensor, self_check: SelfCheck | None = None) -> Backend:
    """Return the implementation for tensors where this one lives.

    Args:
        tensor (Tensor): One of the op's arguments.
        self_check (Callable | None): Runs the op's kernel on a device and raises where
            its results are not the reference's. None: the op has no kernel.
    """
    if _chosen is not None:
        return _chosen
    if tensor.device.type == 'cpu':
        return 'cpu'
    if tensor.device.type == 'cuda' and self_check is not None:
        device = torch.device('cuda', tensor.get_device())
        return 'cuda' if _agrees(self_check, device) else 'reference'
    return 'reference'


@contextmanager
def using(backend: Backend) -> Iterator[None]:
    """Run one implementation, wherever tensors live: to compare and to count."""
    global _chosen
    before, _chosen = _chosen, backend
    try:
        yield
    finally:
        _chosen = before


def is_captured() -> bool:
    """Whether a CUDA graph is being captured, which runs again without Python."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


@functools.cache
def _agrees(self_check: SelfCheck, device: torch.device) -> bool:
    """Whether the kernel that a check runs is to be trusted on a card; said once."""
    if os.environ.get(SWITCH) == 'reference':
        return False
    try:
        with torch.no_grad():
            self_check(device)
    # Whatever stops a compiler or a driver, the plain operators give the result.
    except Exception as error:
        reason = (str(error).strip() or 'no reason given').splitlines()[0]
        logging.getLogger(__name__).warning(
            '%s: plain operators instead of the kernel on %s: %s: %s',
            self_check.__module__,
            device,
            type(error).__name__,
            reason,
        )
        return False
    return True
