"""Images a second that a config's data loader gives, by number of workers."""

from __future__ import annotations

import copy
import statistics
import time
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing

from mmfrcnn.cores import usable_cores
from mmfrcnn_benchmark.compare import Progress
from mmfrcnn_benchmark.machine import describe_machine

SECONDS = 8.0


def measure_loader(config: Config, progress: Progress) -> dict[str, Any]:
    """Load training batches, and nothing else, with 0, 1, 2, 4, ... workers.

    Args:
        config (Config): With a ``train_dataloader``, its names checked.
        progress (Callable): Told the progress.

    Returns:
        dict: ``points``: workers, images a second, and the memory that a worker has
        for itself, in GiB (the annotations are in memory that all share).
    """
    init_default_scope(config.get('default_scope', 'mmdet'))
    set_multi_processing(**config.get('env_cfg', {}).get('mp_cfg', {}))
    settings = config.train_dataloader
    points = []
    for workers in _numbers(usable_cores()):
        progress(f'{workers} workers, {SECONDS:.0f} s')
        points.append(dict(workers=workers, **_measure(settings, workers)))
    return dict(
        benchmark='loader',
        config=config.filename,
        batch=settings.batch_size,
        configured=settings.get('num_workers', 0),
        machine=describe_machine('cpu'),
        points=points,
    )


def _numbers(cores: int) -> list[int]:
    """Return 0 and the powers of two up to the number of cores."""
    return [0, *(2**power for power in range(cores.bit_length()) if 2**power <= cores)]


def _measure(settings: dict, workers: int) -> dict[str, float]:
    settings = copy.deepcopy(settings)
    settings['num_workers'] = workers
    settings['persistent_workers'] = workers > 0
    loader = Runner.build_dataloader(settings, seed=0)
    iterator: Any = iter(loader)
    batches = chain(iterator, chain.from_iterable(repeat(loader)))
    for _ in range(2 * workers + 1):  # what was made while nobody waited
        next(batches)
    start, images = time.monotonic(), 0
    while time.monotonic() - start < SECONDS:
        images += len(next(batches)['inputs'])
    rate = images / (time.monotonic() - start)
    processes = getattr(iterator, '_workers', [])
    own = [_private_gib(process.pid) for process in processes]
    return dict(rate=rate, memory=statistics.mean(own) if own else 0.0)


def _private_gib(process: int) -> float:
    """Return the memory that a process shares with no other."""
    file = Path(f'/proc/{process}/smaps_rollup')
    if not file.is_file():
        return float('nan')
    lines = file.read_text().splitlines()
    return sum(int(x.split()[1]) for x in lines if x.startswith('Private_')) / 2**20
