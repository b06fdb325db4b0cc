"""Losses come to the host together, and one that is not finite ends the training."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner

from ..errors import UserError


@HOOKS.register_module()
class LossRecordHook(RuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook`` that waits for the device when the log is written.

    Reading every loss of every iteration makes the host wait for a GPU some five times
    a step, and the GPU then waits for the host. Losses stay on the device until
    ``LoggerHook`` needs them; the log holds the same numbers.

    Raises:
        UserError: When the log is written after a loss has become infinite or not a
            number, from which no training recovers.
    """

    def __init__(self) -> None:
        self._pending: list[dict[str, Any]] = []
        self._interval = 1

    def before_train(self, runner: Runner) -> None:
        """Find out how often the log is written."""
        super().before_train(runner)
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._interval = loggers[0].interval if loggers else 1

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Keep the losses of an iteration, and record all that are kept if it's time.

        Args:
            runner (Runner): The Runner.
            batch_idx (int): Index of the batch in its epoch.
            data_batch (Any): Not looked at.
            outputs (dict | None): Losses and other scalars by name.
        """
        self._pending.append(outputs or {})
        if self.every_n_inner_iters(batch_idx, self._interval) or self.end_of_epoch(
            runner.train_dataloader, batch_idx
        ):
            self._record(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Record what a loop has left that ends in the middle of an epoch."""
        self._record(runner, runner.iter)

    def _record(self, runner: Runner, last: int) -> None:
        first = last - len(self._pending) + 1
        losses = _to_host(self._pending)
        self._pending = []
        for iteration, values in enumerate(losses, first):
            for name, value in values.items():
                runner.message_hub.update_scalar(f'train/{name}', value)
                if 'loss' in name and not math.isfinite(value):
                    rate = runner.message_hub.get_scalar('train/lr').current()
                    raise UserError(
                        f'{name} is {value} at iteration {iteration}: the training has '
                        f'diverged. Lower the learning rate (it is {rate:.3g} now), '
                        'warm up longer, or limit the gradients: --cfg-options '
                        'optim_wrapper.clip_grad.max_norm=10'
                    )


def _to_host(steps: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Read the scalars of some steps, most of them tensors, in one transfer."""
    values = [torch.as_tensor(value) for step in steps for value in step.values()]
    if not values:
        return steps
    device = next((v.device for v in values if v.device.type != 'cpu'), 'cpu')
    together = torch.cat([v.detach().to(device).double().reshape(1) for v in values])
    read = iter(together.tolist())
    return [dict(zip(step, read, strict=False)) for step in steps]
