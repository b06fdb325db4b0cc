"""Whether memory grows: over a training's iterations, and over many images predicted.

    python -m tests.soak.memory --iterations 1000 --images 10000

Of the tiny network of the tests, on the CPU, in one process. Printed is the memory that
the process has, at tenths of the way; a growth beyond the limit from the third of these
to the last is an error.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfrcnn import Detector
from tests.end_to_end.tiny import make_config, run_here

LIMIT = 16
"""MiB of growth; a picture of 36 KiB that is kept of each image makes 350 of 10,000."""
BEGIN = 2
"""Of the ten measurements, the one from which on memory may not grow."""


def resident() -> float:
    """Return the memory that this process has, in MiB."""
    gc.collect()
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def watched(things: Iterable, count: int, found: list[float]) -> Iterator:
    """Pass things on, and measure at each tenth of the way."""
    for number, thing in enumerate(things, start=1):
        yield thing
        if number % (count // 10) == 0:
            found.append(resident())


@HOOKS.register_module()
class MeasureHook(Hook):
    """Measures at each tenth of a training."""

    def __init__(self) -> None:
        self.found: list[float] = []
        MeasureHook.last = self

    def after_train_iter(self, runner: Runner, *_: object, **__: object) -> None:
        if (runner.iter + 1) % (runner.max_iters // 10) == 0:
            self.found.append(resident())


def train(folder: Path, iterations: int) -> list[float]:
    """Train for so many iterations."""
    config = folder / 'long.py'
    config.write_text(
        "_base_ = 'tiny.py'\n"
        f"train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', "
        f'max_iters={iterations}, val_interval={iterations // 4})\n'
        "custom_hooks = [dict(type='MeasureHook')]\n"
        'log_processor = dict(by_epoch=False)\n'
        'default_hooks = dict(logger=dict(interval=10), '
        'checkpoint=dict(by_epoch=False, interval=100))\n'
    )
    assert run_here('train', config, '--work-dir', folder / 'run') == 0
    return MeasureHook.last.found


def detect(folder: Path, images: int) -> list[float]:
    """Have a detector answer for so many images, one after another."""
    found: list[float] = []
    detector = Detector(folder / 'run', device='cpu')
    paths = islice(cycle(sorted((folder / 'data/images').iterdir())), images)
    for _ in watched(detector(paths), images, found):
        pass
    return found


def predict(folder: Path, images: int) -> list[float]:
    """Run ``mmfrcnn predict`` on a folder of so many images."""
    pictures, found = folder / 'many', []
    pictures.mkdir()
    sources = cycle(sorted((folder / 'data/images').iterdir()))
    for number, source in enumerate(islice(sources, images)):
        (pictures / f'{number:06d}.png').hardlink_to(source)
    from mmfrcnn.cli import predict as command

    plain = command._batches

    def batches(prepared: command.PreparedImages, args: argparse.Namespace) -> Iterator:
        return watched(plain(prepared, args), images // args.batch_size, found)

    command._batches = batches
    options = ('--out-dir', folder / 'out', '--no-pictures', '--num-workers', 0)
    assert (
        run_here('predict', pictures, folder / 'run', *options, '--batch-size', 8) == 0
    )
    return found


def main() -> int:
    """Measure each; return 1 if memory grows."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--iterations', type=int, default=1000)
    parser.add_argument('--images', type=int, default=10000)
    args = parser.parse_args()
    grows = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_config(folder)
        for work, count in (
            (train, args.iterations),
            (detect, args.images),
            (predict, args.images),
        ):
            found = work(folder, count)
            growth = found[-1] - found[BEGIN]
            grows |= growth > LIMIT
            shown = ' '.join(f'{size:.0f}' for size in found)
            print(f'SOAK {work.__name__} {count}: MiB {shown}; growth {growth:.1f}')
    return int(grows)


if __name__ == '__main__':
    sys.exit(main())
