"""A GPU that is not there: its tensors have shapes and a device, and no values.

The host is real, the device is fake (``torch._subclasses.FakeTensorMode``). So all that
goes from one to the other is seen, and all that the host has to wait for. What a host
cannot know without the device (a value, a shape that depends on data) raises, and so do
tensors that do not live together. No kernel runs: nothing is said of results or time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import OPDEFS
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.overrides import enable_reentrant_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from mmfrcnn.ops.backend import using

DEVICE = torch.device('cuda', 0)

aten = torch.ops.aten
# What is asked of a tensor, not done with it.
QUESTIONS = (torch.ops.prim.device.default, aten.is_pinned.default)


class FakeDevice(TorchDispatchMode):
    """Runs operators of the host for real, and those of a GPU without values.

    Attributes:
        total (int): Operators of the device.
        waits (Counter): What made the host wait for the device.
        copies (int): Copies between the two, waited for or not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.waits: Counter = Counter()
        self.copies = 0
        self._pinned: list[Tensor] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run an operator where its tensors are."""
        kwargs = kwargs or {}
        if function is aten._pin_memory.default:
            with unset_fake_temporarily():
                self._pinned.append(args[0].clone())
            return self._pinned[-1]
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        here = [one for one in given if not isinstance(one, FakeTensor)]
        beyond = len(here) < len(given)
        if function is aten._to_copy.default:
            wanted = torch.device(kwargs.get('device') or args[0].device).type
            if beyond and wanted == 'cpu':
                return self._fetch(args[0])
            if not beyond and wanted == 'cuda':
                self._send(args[0], kwargs.get('non_blocking'))
                beyond = True
        elif function is aten.copy_.default and beyond and here:
            if here[0] is args[0]:
                return args[0].copy_(self._fetch(args[1]))
            self._send(args[1], args[2:] == (True,))
        elif beyond and any(one.dim() for one in here):
            # Single numbers are arguments of a kernel.
            self.waits['a list from the host'] += 1
        elif torch.device(kwargs.get('device') or 'cpu').type == 'cuda':
            beyond = True
        if function.namespace == 'mmfrcnn' and beyond:
            self._look_inside(function, args, kwargs)
        if beyond:
            self.total += function not in QUESTIONS
            return function(*args, **kwargs)
        with unset_fake_temporarily():
            return function(*args, **kwargs)

    def _send(self, tensor: Tensor, non_blocking: bool | None) -> None:
        """A copy that a device makes while the host goes on, or not."""
        self.copies += 1
        pinned = any(tensor is one for one in self._pinned)
        if not (pinned and non_blocking):
            self.waits['copy to the device'] += 1

    def _fetch(self, tensor: Tensor) -> Tensor:
        """What the host waits for; ones, as nothing was computed."""
        self.copies += 1
        self.waits['copy to the host'] += 1
        with unset_fake_temporarily():
            return torch.ones(tensor.shape, dtype=tensor.dtype)

    def _look_inside(self, function: Any, args: tuple, kwargs: dict) -> None:
        """Run the plain operators of an op of ours, of which torch knows the shape."""
        name = function._schema.name
        key = repr((name, tree_map_only(Tensor, _form, (args, kwargs))))
        if key not in _inside:
            _inside[key] = inside = FakeDevice()
            try:
                # As from the outside: composed operators come as what they are made of.
                reentrant = enable_reentrant_dispatch()
                with reentrant, torch.no_grad(), using('reference'), inside:
                    OPDEFS[name]._init_fn(*args, **kwargs)
            except (DataDependentOutputException, DynamicOutputShapeException) as error:
                inside.waits[f'{error.func}'] += 1
        found = _inside[key].waits
        self.waits.update({f'{name}: {what}': n for what, n in found.items()})


# What was seen inside our operators: whoever gets tensors of one form does the same.
_inside: dict[str, FakeDevice] = {}


def _form(tensor: Tensor) -> tuple:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


# One for all: what lives on a device stays there from one use to the next.
_DEVICE = FakeTensorMode(allow_non_fake_inputs=True)


@contextmanager
def fake_device(precision: torch.dtype | None = None) -> Iterator[FakeDevice]:
    """Let ``cuda:0`` be a fake device.

    Args:
        precision (torch.dtype | None): Of its autocast; None: off.

    Yields:
        FakeDevice: What is counted.
    """
    with _DEVICE, FakeDevice() as counted:
        # torch.autocast turns itself off where there is no GPU.
        torch.set_autocast_enabled('cuda', precision is not None)
        torch.set_autocast_dtype('cuda', precision or torch.float16)
        try:
            yield counted
        finally:
            torch.clear_autocast_cache()
            torch.set_autocast_enabled('cuda', False)
