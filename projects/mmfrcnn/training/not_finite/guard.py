"""A step whose loss or gradient is not finite leaves the weights as they were.

Whether it is finite is known on the device. A host that asks waits for a GPU, so there
it does not ask: the step is made, and what it changed is put back by arithmetic.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By bytes: as integers, numbers that are not finite can be multiplied by 0."""


class StepGuard:
    """Watches what updates the weights, and keeps bad steps from them.

    A step is bad where the norm of its gradient is not finite; a loss that is not makes
    it so. With several processes the gradient is that of all, so all of them agree. In
    mixed precision with a scaled loss the gradient scaler leaves out bad steps itself.

    Args:
        goes_on (bool): Whether steps after a bad one are made. If not, the weights stay
            those with which the first bad step was computed.

    Attributes:
        norm (Tensor | None): Euclidean norm of the gradient of the last update, before
            it is clipped, shape (), on the device. None in an iteration without one.
    """

    def __init__(self, goes_on: bool = False) -> None:
        self.goes_on = goes_on
        self.norm: Tensor | None = None
        self._watched: OptimWrapper | None = None
        self._fine: Tensor | None = None
        self._kept: _Kept | None = None

    def watch(self, wrapper: Any, model: nn.Module) -> bool:
        """Guard the steps of an optimizer from now on; whether it is a new one.

        Args:
            wrapper (Any): An ``OptimWrapper``; another kind of thing is left alone.
            model (nn.Module): Whose weights it updates, or a wrapper around it.
        """
        self.norm = None
        if wrapper is self._watched or not isinstance(wrapper, OptimWrapper):
            return False
        self._watched = wrapper
        self._fine = None
        self._kept = _Kept(model, wrapper, self.goes_on)
        self._wrap(wrapper)
        return True

    def _wrap(self, wrapper: OptimWrapper) -> None:
        backward, step = wrapper.backward, wrapper.step

        def marked_backward(loss: Tensor, **options: Any) -> None:
            # Times 1, or, of a loss that is not finite, all gradients become NaN:
            # without that those of an infinite loss may be finite.
            backward(loss * (1 + 0 * loss.detach()), **options)

        @functools.wraps(step)  # with the mark that a schedule looks for
        def guarded_step(**options: Any) -> None:
            self.norm = _gradient_norm(wrapper)
            if is_scaled(wrapper):
                step(**options)
                self._kept.settle(self.norm.isfinite())
            else:
                self._step(lambda: step(**options))

        wrapper.backward = marked_backward
        wrapper.step = guarded_step

    def _step(self, make: Callable[[], None]) -> None:
        fine = self.norm.isfinite()
        if self._fine is not None and not self.goes_on:
            fine = fine & self._fine
        self._fine = fine
        if not host_knows(fine) or fine:
            make()
        self._kept.settle(fine)


class _Kept:
    """What the last good step left, of all that a bad one would change.

    On a GPU a second copy of the weights and, where training goes on after a bad step,
    of the optimizer's state. On a CPU, or with a gradient scaler, only of the buffers,
    which the forward pass changes before anybody knows.
    """

    def __init__(
        self, model: nn.Module, wrapper: OptimWrapper, with_state: bool
    ) -> None:
        inner: Any = model.module if is_model_wrapper(model) else model
        self._optimizer = wrapper.optimizer
        known = host_knows(_weights(wrapper)[0])
        self._only_buffers = known or is_scaled(wrapper)
        self._with_state = with_state
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}
        self._groups: list[tuple[list[Tensor], ...]] = []
        self._states = len(self._optimizer.state)
        changed = list(inner.buffers())
        if not self._only_buffers:
            changed += _weights(wrapper)
            changed += (
                _states(self._optimizer) if with_state else []
            )  # of a resumed run
        self._add((one, one.detach().clone()) for one in changed)

    def settle(self, fine: Tensor) -> None:
        """Keep what a step has left where it was fine; else put back what is kept."""
        if self._with_state and not self._only_buffers:
            self._add_new_states()
        for now, kept in self._groups:
            _select(fine, now, kept)

    def _add(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        self._copies |= {id(one): (one, kept) for one, kept in pairs}
        ordered = sorted(self._copies.values(), key=_kind)
        self._groups = [
            tuple([_bits(one) for one in side] for side in zip(*group, strict=True))
            for _, group in groupby(ordered, _kind)
        ]

    def _add_new_states(self) -> None:
        """Keep zeros of state that the step has made: every optimizer begins so."""
        states = self._optimizer.state
        if len(states) == self._states:
            return
        self._states = len(states)
        new = [one for one in _states(self._optimizer) if id(one) not in self._copies]
        self._add((one, torch.zeros_like(one)) for one in new)


@torch.no_grad()
def _select(fine: Tensor, now: list[Tensor], kept: list[Tensor]) -> None:
    """Make both lists what is in ``now`` where ``fine``, else what is in ``kept``."""
    share = fine.to(now[0].dtype)
    torch._foreach_mul_(now, share)
    torch._foreach_mul_(kept, 1 - share)
    torch._foreach_add_(now, kept)
    torch._foreach_copy_(kept, now)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().view(INTEGERS[tensor.element_size()])


def _kind(pair: tuple[Tensor, Tensor]) -> tuple[str, int]:
    return str(pair[0].device), pair[0].element_size()


def _weights(wrapper: OptimWrapper) -> list[Tensor]:
    return [one for group in wrapper.optimizer.param_groups for one in group['params']]


def _states(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """Yield what an optimizer keeps where the weights are; counts may lie elsewhere."""
    for weight, state in optimizer.state.items():
        for one in state.values():
            if isinstance(one, Tensor) and one.device == weight.device:
                yield one


def host_knows(tensor: Tensor) -> bool:
    """Whether the host can look at a tensor without waiting."""
    return tensor.device.type == 'cpu'


def is_scaled(wrapper: Any) -> bool:
    """Whether a gradient scaler leaves out the bad steps of an ``OptimWrapper``."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    return scaler is not None and scaler.is_enabled()


@torch.no_grad()
def _gradient_norm(wrapper: OptimWrapper) -> Tensor:
    """Return the norm of the gradient of the loss, whatever it was scaled with."""
    gradients = [one.grad for one in _weights(wrapper) if one.grad is not None]
    norm = get_total_norm(gradients)
    scaler = getattr(wrapper, 'loss_scaler', None)
    scale = scaler._get_scale_async() if scaler is not None else None
    return norm if scale is None else norm / scale
