"""A training that does not fit into a GPU's memory: begun anew with half the batch."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.config import Config

from mmfrcnn.cli.runtime import print_once
from mmfrcnn.errors import UserError

Result = TypeVar('Result')

RATES = ('eta_max', 'eta_min')
"""Settings of a schedule that are learning rates, and not factors of one."""


def while_memory_lasts(train: Callable[[], Result], config: Config) -> Result:
    """Train; where a GPU's memory runs out, halve batch and rate, and begin anew.

    Args:
        train (Callable): Trains by the config, and returns what it made.
        config (Config): Changed in place.

    Raises:
        UserError: If it cannot be begun anew: with one image, with several processes,
            or after a checkpoint, whose iterations are those of the larger batch.
    """
    while True:
        before = _checkpoints(config)
        try:
            return train()
        except torch.OutOfMemoryError as error:
            reason = str(error).partition('. ')[0]
        # Out of the handler: the exception held what fills the memory.
        gc.collect()
        torch.cuda.empty_cache()
        _halve(config, reason, kept=_checkpoints(config) != before)


def _checkpoints(config: Config) -> set[Path]:
    return set(Path(config.work_dir).glob('*.pth'))


def _halve(config: Config, reason: str, kept: bool) -> None:
    """Halve the batch of a config, and scale its learning rate to it."""
    loader = config.train_dataloader
    size = loader.get('batch_size')
    remedy = (
        'Set a smaller train_dataloader.batch_size, a smaller scale in Resize, or --amp'
    )
    if not isinstance(size, int) or size < 2:
        raise UserError(f'{reason}, with {size} image an iteration. {remedy}')
    if config.get('launcher', 'none') != 'none':
        raise UserError(f'{reason}, in one of several processes. {remedy}')
    if kept:
        raise UserError(
            f'{reason}, after a checkpoint was written, which counts iterations of '
            f'{size} images. {remedy}, in a new work folder'
        )
    loader.batch_size = size // 2
    share = loader.batch_size / size
    if not config.get('auto_scale_lr', {}).get('enable'):
        optimizer = config.optim_wrapper.optimizer
        optimizer.lr *= share
        for schedule in _schedules(config):
            schedule.update(
                {key: schedule[key] * share for key in RATES if schedule.get(key)}
            )
    print_once(
        f'{reason}. Begun anew with {loader.batch_size} images an iteration in place '
        f'of {size}, and the learning rate scaled to them; iterations that the config '
        'counts stay as many.'
    )


def _schedules(config: Config) -> list[Any]:
    schedule = config.get('param_scheduler') or []
    return list(schedule) if isinstance(schedule, list | tuple) else [schedule]
