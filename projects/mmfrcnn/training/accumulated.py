"""Gradients that wait for those of more images, in the checkpoints between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmfrcnn.errors import UserError

KEY = 'accumulated_gradients'


@HOOKS.register_module()
class AccumulatedGradientsHook(Hook):
    """Keeps what is accumulated of an update in a checkpoint written before it.

    mmengine leaves it out, so that the update after a resumption lacks the images
    before. Several processes, each of which accumulates its own, go on with the mean of
    all, whether they are interrupted or not: the sum of an update is the same, and a
    checkpoint needs to hold one of them.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Tensor] = {}

    def before_saving(self, runner: Runner) -> None:
        """Bring the processes' gradients together, if an update is not complete."""
        self._waiting = {}
        optimizer: Any = runner.optim_wrapper
        counts = getattr(optimizer, '_accumulative_counts', 1)
        if counts == 1 or not optimizer._inner_count % counts:
            return
        weights = dict(_weights(runner))
        found = torch.tensor([weight.grad is not None for weight in weights.values()])
        found = found.to(next(iter(weights.values())).device, torch.uint8)
        all_reduce(found, op='max')
        for is_found, (name, weight) in zip(
            found.tolist(), weights.items(), strict=True
        ):
            if not is_found:
                continue
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            all_reduce(weight.grad, op='mean')
            if is_main_process():
                self._waiting[name] = weight.grad.cpu().clone()

    def before_save_checkpoint(
        self, runner: Runner, checkpoint: dict[str, Any]
    ) -> None:
        """Add them."""
        if self._waiting:
            checkpoint[KEY] = self._waiting

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take them out of a checkpoint that is resumed."""
        found = checkpoint.pop(KEY, {})
        self._waiting = found if runner._resume else {}

    def before_train(self, runner: Runner) -> None:
        """Put them where the first iteration adds to them."""
        waiting, self._waiting = self._waiting, {}
        for name, weight in _weights(runner):
            if name not in waiting:
                continue
            if waiting[name].shape != weight.shape:
                raise UserError(
                    f'{runner._load_from}: {KEY} of {name} are not of its shape. '
                    'Resume from another checkpoint'
                )
            weight.grad = waiting[name].to(weight)


def _weights(runner: Runner) -> Iterator[tuple[str, nn.Parameter]]:
    model: Any = getattr(runner.model, 'module', runner.model)
    yield from model.named_parameters()
