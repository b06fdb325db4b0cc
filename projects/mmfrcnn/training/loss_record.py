"""Losses come to the host together, and a training that has diverged ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from mmfrcnn.errors import UserError

SKIPPED_IN_A_ROW = 10
"""So many losses in a row that are not finite are no accident of one batch."""

IMAGES_NAMED = 8


@dataclass
class _Iteration:
    """What one iteration left: losses by name, on the device, and its images."""

    outputs: dict[str, Any]
    images: list[str]


@HOOKS.register_module()
class LossRecordHook(RuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook`` that waits for the device when the log is written.

    Reading every loss of every iteration makes the host wait for a GPU some five times
    a step, and the GPU then waits for the host. Losses stay on the device until
    ``LoggerHook`` needs them; the log holds the same numbers. With several processes
    they are the mean over the images of all. Where a figure beside the losses is not
    finite (the mean over the objects of a batch without any), it is left out.

    In mixed precision, the gradient scaler leaves out a step whose gradients are not
    finite; such a step is a warning.

    Raises:
        UserError: When the log is written after a loss has become infinite or not a
            number, and that has reached the weights, or would have been left out too
            often in a row. No training recovers from it.
    """

    def __init__(self) -> None:
        self._pending: list[_Iteration] = []
        self._interval = 1
        self._last = 0
        self._skipped = 0

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
            data_batch (Any): As from the dataloader; the paths of its images are kept.
            outputs (dict | None): Losses and other scalars by name.
        """
        self._last = runner.iter + 1
        self._pending.append(_Iteration(outputs or {}, _image_paths(data_batch)))
        if self.every_n_inner_iters(batch_idx, self._interval) or self.end_of_epoch(
            runner.train_dataloader, batch_idx
        ):
            self._record(runner)

    def before_saving(self, runner: Runner) -> None:
        """Record what else a run that goes on from this checkpoint would not know."""
        self._record(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Record what a loop has left that ends in the middle of an epoch."""
        self._record(runner)

    def _record(self, runner: Runner) -> None:
        pending, self._pending = self._pending, []
        first = self._last - len(pending) + 1
        own, of_all = _to_host(pending)
        for index, values in enumerate(of_all):
            for name, value in values.items():
                # A figure beside the losses may not exist for every batch.
                if 'loss' in name or math.isfinite(value):
                    runner.message_hub.update_scalar(f'train/{name}', value)
            terms = _not_finite(values)
            if not terms:
                self._skipped = 0
                continue
            self._skipped += 1
            what = (
                f'{_listed(terms)} at iteration {first + index}, '
                f'{_on_images(own[index], pending[index].images)}'
            )
            self._warn_or_end(runner, what)

    def _warn_or_end(self, runner: Runner, what: str) -> None:
        """Tell a step that the gradient scaler left out from a divergence."""
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        scaled = scaler is not None and scaler.is_enabled()
        if scaled and self._skipped < SKIPPED_IN_A_ROW and _all_finite(runner.model):
            runner.logger.warning(
                f'{what}: the gradient scaler left this step out, and training goes on'
            )
            return
        often = f' ({self._skipped} in a row)' if self._skipped > 1 else ''
        rate = runner.message_hub.get_scalar('train/lr').current()
        raise UserError(
            f'{what}{often}: the training has diverged. Lower the learning rate (it is '
            f'{rate:.3g} now), warm up longer, or limit the gradients: --cfg-options '
            'optim_wrapper.clip_grad.max_norm=10'
        )


def _to_host(
    steps: list[_Iteration],
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Read the scalars of some iterations, most of them tensors, in one transfer.

    Returns:
        tuple: For each iteration, those of this process, and the mean over the images
        of all processes.
    """
    names = [list(step.outputs) for step in steps]
    sizes = [max(len(step.images), 1) for step in steps for _ in step.outputs]
    values = [torch.as_tensor(v) for step in steps for v in step.outputs.values()]
    if not values:
        return [{} for _ in steps], [{} for _ in steps]
    device = next((v.device for v in values if v.device.type != 'cpu'), 'cpu')
    own = torch.cat([v.detach().to(device).double().reshape(1) for v in values])
    both = torch.stack((own, _mean_over_processes(own, sizes)))  # (2, values)
    read_own, read_mean = (iter(row) for row in both.tolist())
    return (
        [{name: next(read_own) for name in step} for step in names],
        [{name: next(read_mean) for name in step} for step in names],
    )


def _mean_over_processes(values: Tensor, sizes: list[int]) -> Tensor:
    """Average ``values`` (N,) of all processes by the images of each, ``sizes``."""
    if get_world_size() == 1:
        return values
    weights = values.new_tensor(sizes)
    sums = torch.stack((values * weights, weights))  # (2, N)
    all_reduce(sums, op='sum')
    return sums[0] / sums[1]


def _not_finite(values: dict[str, float]) -> dict[str, float]:
    """Return the loss terms that are not finite; their sum only if no term says it."""
    found = {k: v for k, v in values.items() if 'loss' in k and not math.isfinite(v)}
    return {k: v for k, v in found.items() if k != 'loss'} or found


def _listed(terms: dict[str, float]) -> str:
    return ', '.join(f'{name} is {value}' for name, value in terms.items())


def _on_images(own: dict[str, float], images: list[str]) -> str:
    """Say on which images it came up, as far as this process has seen them."""
    if not _not_finite(own):
        return 'on images of another process'
    more = len(images) - IMAGES_NAMED
    named = ', '.join(images[:IMAGES_NAMED]) or 'images without a path'
    return f'on {named}' + (f' and {more} more' if more > 0 else '')


def _image_paths(data_batch: Any) -> list[str]:
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    if not isinstance(samples, list | tuple):
        return []
    return [str(getattr(sample, 'img_path', 'an image')) for sample in samples]


def _all_finite(model: torch.nn.Module) -> bool:
    return all(bool(p.isfinite().all()) for p in model.parameters())
