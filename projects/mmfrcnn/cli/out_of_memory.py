"""A training that does not fit into a GPU's memory: begun anew with half the batch."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from mmengine.config import Config

from mmfrcnn.cli.rates import scale_config
from mmfrcnn.cli.runtime import print_once
from mmfrcnn.errors import UserError

Result = TypeVar('Result')

REMEDIES = {
    'train': 'Set a smaller train_dataloader.batch_size, a smaller scale in Resize, '
    'or --amp',
    'test': 'Set a smaller test_dataloader.batch_size, a smaller scale in Resize, or '
    '--precision bf16',
    'predict': 'Give a smaller --batch-size, --precision bf16, or a smaller scale in '
    'Resize',
}
"""By command: what to change where a GPU's memory runs out."""


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
            reason = _reason(error)
        # Out of the handler: the exception held what fills the memory.
        gc.collect()
        torch.cuda.empty_cache()
        goes_on = config.get('resume', False)
        _halve(config, reason, kept=goes_on or _checkpoints(config) != before)


def explain_out_of_memory(command: str, error: torch.OutOfMemoryError) -> str:
    """Return what a command says where a GPU's memory runs out, in one line."""
    other = 'Work on fewer or smaller images at a time, or --device cpu'
    return f'{_reason(error)}. {REMEDIES.get(command, other)}'


def _reason(error: torch.OutOfMemoryError) -> str:
    """Return the first sentence: others tell of the allocator."""
    text = str(error).rpartition('OutOfMemoryError: ')[2]  # of a loader's thread
    return text.partition('. ')[0].splitlines()[0]


def _checkpoints(config: Config) -> set[Path]:
    return set(Path(config.work_dir).glob('*.pth'))


def _halve(config: Config, reason: str, kept: bool) -> None:
    """Halve the batch of a config, and scale its learning rate to it."""
    loader = config.train_dataloader
    size = loader.get('batch_size')
    remedy = REMEDIES['train']
    if not isinstance(size, int) or size < 2:
        raise UserError(f'{reason}, with {size} image an iteration. {remedy}')
    if config.get('launcher', 'none') != 'none':
        raise UserError(f'{reason}, in one of several processes. {remedy}')
    if kept:
        raise UserError(
            f'{reason}, in a run with a checkpoint, which counts iterations of '
            f'{size} images. {remedy}, in a new work folder'
        )
    loader.batch_size = size // 2
    share = loader.batch_size / size
    if not config.get('auto_scale_lr', {}).get('enable'):
        scale_config(config, share)
    print_once(
        f'{reason}. Begun anew with {loader.batch_size} images an iteration in place '
        f'of {size}, and the learning rate scaled to them; iterations that the config '
        'counts stay as many.'
    )
