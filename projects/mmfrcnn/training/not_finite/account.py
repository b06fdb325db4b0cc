"""What is known of a bad step, in a few lines, and on file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmfrcnn.training.bfloat16 import Bfloat16OptimWrapper
from mmfrcnn.training.not_finite.boxes import describe_boxes
from mmfrcnn.training.not_finite.dump import (
    StepDump,
    mode_of,
    plain_sample,
    write_dump,
)
from mmfrcnn.training.not_finite.recent import Step

FOLDER = 'nan'
"""In the work folder, of dumps."""


def account(runner: Runner, step: Step, exact: bool, **known: Any) -> str:
    """Dump a bad step; return lines on its boxes, its gradient and the file.

    Args:
        runner (Runner): The Runner.
        step (Step): The step.
        exact (bool): Whether the weights are still those with which it was computed.
        known (Any): Its ``terms``, ``rate``, ``gradient_norm``; and ``norm_before``,
            of the update before it, for which None stands too.

    Returns:
        str: Each line begins with a break; '' for a batch that is not of detection.
    """
    if not _is_of_detection(step.batch):
        return ''
    before = known.pop('norm_before')
    # That of a loss which is not finite is not, either: see `StepGuard`.
    norm = '' if known['terms'] else f'{_number(known["gradient_norm"])}, and '
    lines = [
        f'boxes: {describe_boxes(_samples(step.batch))}',
        f'norm of the gradient: {norm}{_number(before)} in the update before',
        _dumped(runner, step, exact, known),
    ]
    return ''.join(f'\n  {line}' for line in lines)


def _dumped(runner: Runner, step: Step, exact: bool, known: dict[str, Any]) -> str:
    rank = f'_rank_{get_rank()}' if get_world_size() > 1 else ''
    path = Path(runner.work_dir) / FOLDER / f'iter_{step.iteration}{rank}.pth'
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    inputs = step.batch['inputs']
    dump = StepDump(
        iteration=step.iteration,
        exact=exact,
        seed=step.seed,
        draws=step.draws,
        precision=_precision(runner.optim_wrapper),
        torch=str(torch.__version__),
        inputs=[one.cpu().clone() for one in inputs],
        samples=[plain_sample(one) for one in _samples(step.batch)],
        **mode_of(model),
        **known,
    )
    config = runner.message_hub.get_info('cfg', runner.cfg.pretty_text)
    try:
        write_dump(path, dump, model, config)
    except OSError as error:
        return f'{path} could not be written: {error.strerror or error}'
    weights = 'the weights before it' if exact else 'weights of some steps later'
    return f'the batch and {weights} are in {path}: mmfrcnn replay {path}'


def _is_of_detection(batch: Any) -> bool:
    """Whether it is one batch of images, not several as of semi-supervised training."""
    return (
        isinstance(batch, dict)
        and isinstance(batch.get('inputs'), Tensor | list | tuple)
        and isinstance(batch.get('data_samples'), list | tuple)
    )


def _samples(batch: Any) -> list[Any]:
    return list(batch['data_samples'])


def _number(value: float | None) -> str:
    return 'not known' if value is None else f'{value:.3g}'


def _precision(wrapper: Any) -> str:
    """Return what the forward pass multiplied in, by its name in `PRECISIONS`."""
    if isinstance(wrapper, Bfloat16OptimWrapper):
        return 'bf16'
    if isinstance(wrapper, AmpOptimWrapper):
        return 'bf16' if wrapper.cast_dtype == torch.bfloat16 else 'fp16'
    return 'fp32'
