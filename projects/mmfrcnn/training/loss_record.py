"""Losses come to the host together, and a training that has diverged ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.sampler import balanced_samplers
from mmfrcnn.training.not_finite.account import account
from mmfrcnn.training.not_finite.guard import StepGuard, is_scaled
from mmfrcnn.training.not_finite.recent import RecentSteps, Step

SKIPPED_IN_A_ROW = 10
"""So many losses in a row that are not finite are no accident of one batch."""

IMAGES_NAMED = 8


GRADIENT = 'norm of the gradient'


class DivergedError(UserError):
    """A loss or gradient is not finite, and training does not go on."""


@dataclass
class _Iteration:
    """What one iteration left: losses by name, on the device, and its images.

    ``gradient_norm`` is on the device too, None where the weights were not updated.
    """

    outputs: dict[str, Any]
    images: list[str]
    rate: float | None = None
    gradient_norm: Tensor | None = None


@HOOKS.register_module()
class LossRecordHook(RuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook`` that waits for the device when the log is written.

    Reading every loss of every iteration makes the host wait for a GPU some five times
    a step, and the GPU then waits for the host. Losses stay on the device until
    ``LoggerHook`` needs them; the log holds the same numbers. With several processes
    they are the mean over the images of all. Where a figure beside the losses is not
    finite (the mean over the objects of a batch without any), it is left out.

    A step whose loss or gradient is not finite leaves the weights as they were
    (:class:`StepGuard`), and the log tells: of the first such step with its images,
    boxes, learning rate and gradient, and a file from which ``mmfrcnn replay`` computes
    it again. In mixed precision, the gradient scaler leaves such steps out; that is a
    warning.

    Args:
        skip (bool): Whether to leave out such steps in any precision, and go on.

    Raises:
        DivergedError: When the log is written after a loss or gradient has become
            infinite or not a number, if such steps are not left out, or too many in a
            row.
    """

    def __init__(self, skip: bool = False) -> None:
        self._pending: list[_Iteration] = []
        self._interval = 1
        self._last = 0
        self._skipped = 0
        self._skipped_in_all = 0
        self._guard = StepGuard(goes_on=skip)
        self._recent = RecentSteps()
        self._norm: float | None = None
        self._samplers: list[Any] = []
        self._step: Step | None = None

    def before_train(self, runner: Runner) -> None:
        """Find out how often the log is written."""
        super().before_train(runner)
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._interval = loggers[0].interval if loggers else 1

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Guard the step, and note what its loss will be computed from."""
        super().before_train_iter(runner, batch_idx, data_batch)
        if self._guard.watch(runner.optim_wrapper, runner.model):
            self._samplers = balanced_samplers(runner.model)
        draws = [sampler.draws for sampler in self._samplers]
        seed = torch.initial_seed()
        self._step = Step(runner.iter + 1, data_batch, seed, draws)

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
        outputs = outputs or {}
        norm = self._guard.norm
        self._last = runner.iter + 1
        self._pending.append(
            _Iteration(outputs, _image_paths(data_batch), _rate(runner), norm)
        )
        if self._step is not None and 'loss' in outputs:
            fine = torch.as_tensor(outputs['loss']).detach().isfinite()
            # A scaled gradient that overflows is no fault of the batch.
            if norm is not None and not is_scaled(runner.optim_wrapper):
                fine = fine & norm.isfinite()
            self._recent.add(self._step, fine)
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
        norms = [values.pop(GRADIENT, None) for values in of_all]
        for index, values in enumerate(of_all):
            for name, value in values.items():
                # A figure beside the losses may not exist for every batch.
                if 'loss' in name or math.isfinite(value):
                    runner.message_hub.update_scalar(f'train/{name}', value)
            bad = _Bad(first + index, _not_finite(values), norms[index])
            counts = bad.is_gradient and not is_scaled(runner.optim_wrapper)
            if not bad.terms and not counts:
                self._skipped = 0
                self._norm = bad.norm if bad.norm is not None else self._norm
                continue
            self._skipped += 1
            self._skipped_in_all += 1
            ours = bool(_not_finite(own[index])) or not bad.terms
            where = _on_images(pending[index].images if ours else None)
            message = f'{bad} at iteration {bad.iteration}, {where}'
            rate = pending[index].rate
            details = self._details(runner, bad, rate) if ours else ''
            self._warn_or_end(runner, message, rate, details)

    def _details(self, runner: Runner, bad: _Bad, rate: float | None) -> str:
        """Dump the first bad step of a run; return what is known of it, else ''."""
        self._recent.wait()
        step = self._recent.bad
        if step is None or step.iteration != bad.iteration:
            return ''
        return account(
            runner,
            step,
            exact=not self._leaves_out(runner),
            terms=bad.terms,
            rate=rate,
            gradient_norm=bad.norm,
            norm_before=self._norm,
        )

    def _leaves_out(self, runner: Runner) -> bool:
        """Whether training goes on after a bad step, which was left out."""
        return self._guard.goes_on or is_scaled(runner.optim_wrapper)

    def _warn_or_end(
        self, runner: Runner, what: str, rate: float | None, details: str
    ) -> None:
        """Tell a step that was left out from a divergence."""
        few = self._skipped < SKIPPED_IN_A_ROW
        if self._leaves_out(runner) and few and _is_finite(runner.model):
            by_scaler = is_scaled(runner.optim_wrapper)
            so = 'the gradient scaler left this step out'
            so = so if by_scaler else 'this step was left out'
            count = f' ({self._skipped_in_all} so far)' * (self._skipped_in_all > 1)
            # Of other processes than the first, errors alone are heard.
            is_heard = not (details and get_rank())
            say = runner.logger.warning if is_heard else runner.logger.error
            say(f'{what}: {so}, and training goes on{count}{details}')
            return
        often = f' ({self._skipped} in a row)' if self._skipped > 1 else ''
        now = '' if rate is None else f' (it is {rate:.3g})'
        raise DivergedError(
            f'{what}{often}: the training has diverged. Lower the learning rate{now}, '
            'warm up longer, or limit the gradients: --cfg-options '
            f'optim_wrapper.clip_grad.max_norm=10{details}'
        )


@dataclass
class _Bad:
    """What was not finite in an iteration: losses by name, or the gradient's norm."""

    iteration: int
    terms: dict[str, float]
    norm: float | None

    @property
    def is_gradient(self) -> bool:
        return self.norm is not None and not math.isfinite(self.norm)

    def __str__(self) -> str:
        found = self.terms or {'the norm of the gradient': self.norm}
        return ', '.join(f'{name} is {value}' for name, value in found.items())


def _to_host(
    steps: list[_Iteration],
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Read the scalars of some iterations, most of them tensors, in one transfer.

    Returns:
        tuple: For each iteration, those of this process, and the mean over the images
        of all processes.
    """
    scalars = [_scalars(step) for step in steps]
    names = [list(one) for one in scalars]
    images = [max(len(step.images), 1) for step in steps]
    sizes = [n for n, one in zip(images, scalars, strict=True) for _ in one]
    values = [torch.as_tensor(v) for one in scalars for v in one.values()]
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


def _scalars(step: _Iteration) -> dict[str, Any]:
    norm = step.gradient_norm
    return step.outputs if norm is None else {**step.outputs, GRADIENT: norm}


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


def _on_images(images: list[str] | None) -> str:
    """Say on which images it came up, as far as this process has seen them."""
    if images is None:
        return 'on images of another process'
    more = len(images) - IMAGES_NAMED
    named = ', '.join(images[:IMAGES_NAMED]) or 'images without a path'
    return f'on {named}' + (f' and {more} more' if more > 0 else '')


def _image_paths(data_batch: Any) -> list[str]:
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    if not isinstance(samples, list | tuple):
        return []
    return [str(getattr(sample, 'img_path', 'an image')) for sample in samples]


def _rate(runner: Runner) -> float | None:
    rates = runner.message_hub.log_scalars.get('train/lr')
    return None if rates is None else float(rates.current())


def _is_finite(model: torch.nn.Module) -> bool:
    return all(bool(p.isfinite().all()) for p in model.parameters())
