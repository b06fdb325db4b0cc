"""What makes one training the same as another: to the bit, or with other processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmfrcnn.cli.runtime import print_once
from mmfrcnn.errors import UserError

SHARED = 'images_shared_by'
"""What a checkpoint says of the images an iteration: of each process, and how many."""

PROCESSES = ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')
"""Where torchrun, Slurm and MPI say how many processes there are."""


def make_deterministic(config: Config) -> None:
    """Have a config trained with operations that give the same each time.

    What torch has no such operation for, it refuses by name.
    """
    # cuBLAS reads it when it is first used.
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    randomness = dict(config.get('randomness') or {}, deterministic=True)
    if randomness.get('seed') is None:
        randomness['seed'] = 0
    config.randomness = randomness
    config.env_cfg = dict(config.get('env_cfg') or {}, cudnn_benchmark=False)


def note_images(runner: Runner) -> None:
    """Have the checkpoints say how the images of an iteration are shared.

    ``configured`` is the batch size that the config gave when that was last decided.
    """
    loader = runner.train_dataloader
    each = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
    shared = {'processes': runner.world_size, 'each': each, 'configured': each}
    before = runner.message_hub.runtime_info.get(SHARED)
    if _is_known(before) and _is_known(shared) and _total(before) == _total(shared):
        shared['configured'] = before['configured']
    runner.message_hub.update_info(SHARED, shared)


def keep_images(config: Config, checkpoint: Mapping[str, Any]) -> None:
    """Let other processes than a checkpoint's train as many images an iteration.

    So iterations, the learning rate and the order of the images stay what they were.
    Where the config's batch size is no longer the one it was, it is left alone.

    Args:
        config (Config): Of the training that goes on; changed in place.
        checkpoint (Mapping): What it goes on from.

    Raises:
        UserError: If so many images cannot be shared equally.
    """
    hub = checkpoint.get('message_hub') or {}
    shared = (hub.get('runtime_info') or {}).get(SHARED)
    now = _processes(config)
    if not _is_known(shared):
        return
    loader, total = config.train_dataloader, _total(shared)
    configured = shared['configured']
    if loader.get('batch_size') != configured or total == now * configured:
        return
    if total % now:
        raise UserError(
            f'{config.load_from} was trained with {total} images an iteration, which '
            f'{now} processes cannot share equally. Start a number that divides it, or '
            'set train_dataloader.batch_size and the learning rate yourself'
        )
    loader.batch_size = total // now
    print_once(
        f'{config.load_from} was trained with {total} images an iteration, and so it '
        f'goes on: {loader.batch_size} in each of {now} processes.'
    )


def _is_known(shared: Any) -> bool:
    keys = {'processes', 'each', 'configured'}
    is_whole = isinstance(shared, Mapping) and shared.keys() == keys
    return is_whole and all(type(n) is int and n > 0 for n in shared.values())


def _total(shared: Mapping[str, int]) -> int:
    return shared['processes'] * shared['each']


def _processes(config: Config) -> int:
    if config.get('launcher', 'none') == 'none':
        return 1
    return int(next((os.environ[key] for key in PROCESSES if key in os.environ), 1))
