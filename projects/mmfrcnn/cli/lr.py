"""``tools/lr.py``: the learning-rate range test."""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from mmfrcnn.cli.checking.needs import check_needs
from mmfrcnn.cli.outputs import check_file
from mmfrcnn.cli.runtime import build_runner, console, explained, prepare
from mmfrcnn.cli.train import TrainingReport, choose_start
from mmfrcnn.errors import UserError
from mmfrcnn.training.rate_test import (
    BELOW_LOWEST,
    HALF,
    RateRange,
    RateRangeHook,
    rising_rates,
)

KEY = 'optim_wrapper.optimizer.lr'
FEWEST = 10
"""With fewer updates, a smoothed loss is hardly one."""
SPAN = 100
"""The rates reach this factor below and above the config's."""
ROWS = 12
COLUMNS = ('rate', 'loss', 'smoothed')


def run(args: argparse.Namespace) -> None:
    """Train with rising rates, and print what that says."""
    if args.out:
        check_file('--out', Path(args.out), _is_own)
    with tempfile.TemporaryDirectory() as folder:
        own = dict(work_dir=folder, launcher='none', local_rank=0)
        config = prepare(argparse.Namespace(**{**vars(args), **own}))
        configured = _configured_rate(config, args.config)
        rates = _rates(args, configured)
        _only_train(config, len(rates))
        choose_start(config, None)
        hook = RateRangeHook(rates, configured)
        with explained(config, ['train']), console(False):
            runner = build_runner(config)
            runner.register_hook(hook)
            runner.register_hook(_CheckedStart(), priority='VERY_LOW')
            runner.train()
    found = RateRange.of(rates, hook.losses)
    print('\n'.join([*table(found, configured), '', *verdict(found, configured)]))
    if args.out:
        _write(Path(args.out), found)
        print(f'{args.out} has the rate and the loss of each update.')


class _CheckedStart(TrainingReport):
    """Checks the weights that are started from, and introduces no training."""

    def before_train(self, runner: Runner) -> None:
        """Say nothing: length, schedule and folder are not the config's."""


def _configured_rate(config: Config, path: str) -> float:
    """Return the learning rate of a config, or say what it lacks to be tested."""
    if config.get('train_dataloader') is None:
        raise UserError(f'{path} has no train_dataloader')
    optimizer = (config.get('optim_wrapper') or {}).get('optimizer') or {}
    rate = optimizer.get('lr')
    if not isinstance(rate, int | float) or not rate > 0:
        raise UserError(
            f'{path}: {KEY} is {rate!r}; the range test raises one learning rate '
            'above 0, that of a single optimizer'
        )
    return float(rate)


def _rates(args: argparse.Namespace, configured: float) -> list[float]:
    """Return the rates that the command line asks for."""
    if args.iterations < FEWEST:
        raise UserError(
            f'--iterations must be at least {FEWEST}, not {args.iterations}'
        )
    low = configured / SPAN if args.low is None else args.low
    high = configured * SPAN if args.high is None else args.high
    if not 0 < low < high < math.inf:
        raise UserError(
            f'--from {low:g} --to {high:g}: the rates must rise, from above 0'
        )
    return rising_rates(low, high, args.iterations)


def _only_train(config: Config, updates: int) -> None:
    """Leave of a run its training, for so many updates; nothing is kept or sent."""
    each = config.optim_wrapper.get('accumulative_counts', 1)
    iterations = updates * each
    config.train_cfg = ConfigDict(type='IterBasedTrainLoop', max_iters=iterations)
    for split in ('val', 'test'):
        for part in ('dataloader', 'evaluator', 'cfg'):
            config[f'{split}_{part}'] = None
    config.param_scheduler = None
    config.resume = False
    hooks = config.setdefault('default_hooks', {})
    # Losses are read one by one, and one that is not finite is what is looked for.
    hooks.runtime_info = ConfigDict(type='RuntimeInfoHook')
    hooks.logger = ConfigDict(type='LoggerHook', interval=iterations + 1)
    hooks.checkpoint = None
    config.log_processor = ConfigDict(type='LogProcessor', by_epoch=False)
    config.visualizer = ConfigDict(type='DetLocalVisualizer', vis_backends=[])
    sampler = config.train_dataloader.get('sampler')
    if sampler and sampler.get('type') == 'DefaultSampler':  # of which an epoch ends
        sampler.type = 'InfiniteSampler'
        sampler.pop('round_up', None)
    check_needs(config, 'train_dataloader')


def table(found: RateRange, configured: float) -> list[str]:
    """Lay out a range test: some rates with their smoothed loss, and what they are.

    Args:
        found (RateRange): The test.
        configured (float): The config's learning rate.
    """
    last = len(found.rates) - 1
    places = {round(i * last / (ROWS - 1)) for i in range(ROWS)} | {found.lowest}
    notes = {found.lowest: 'lowest'}
    if found.rates[0] <= configured <= found.rates[-1]:
        near = min(
            range(last + 1), key=lambda i: abs(math.log(found.rates[i] / configured))
        )
        places.add(near)
        notes[near] = ', '.join([*filter(None, [notes.get(near)]), "the config's rate"])
    if found.diverged:
        notes[last] = 'diverged'
    lines = [f'{"rate":>10}{"loss":>10}   (mean over {2 * HALF + 1} updates)']
    for place in sorted(places):
        rate, loss = found.rates[place], found.smoothed[place]
        lines.append(f'{rate:10.3g}{loss:10.4g}   {notes.get(place, "")}'.rstrip())
    return lines


def verdict(found: RateRange, configured: float) -> list[str]:
    """Say which rate to train with, and whether the config's can be trained with.

    Args:
        found (RateRange): The test.
        configured (float): The config's learning rate.
    """
    if not found.falls:
        return [
            'The loss does not fall before it rises, so no rate is suggested. Begin '
            'lower (--from), with more --iterations. Weights that are trained already '
            'have little left to fall.'
        ]
    if found.ends_falling:
        return [
            f'The loss still falls at {found.highest:.3g}, the highest rate tried. Go '
            'higher (--to) to find out where it ends.'
        ]
    return [
        f'The loss falls from {found.least:.3g} on, and rises beyond '
        f'{found.highest:.3g}. {_judged(found, configured)}',
        f'Suggested: {found.suggested:.2g}, the rate of the lowest loss divided by '
        f'{BELOW_LOWEST}. To copy:',
        f'  --cfg-options {KEY}={found.suggested:.2g}',
    ]


def _judged(found: RateRange, configured: float) -> str:
    """Say on which side of the range a rate is."""
    said = f"The config's {configured:.3g} is "
    if configured > found.highest:
        return said + 'too high: the loss rises there.'
    if configured < found.least:
        return said + 'low: in so few updates, the loss does not fall there.'
    return said + 'between them.'


def _is_own(beginning: bytes) -> bool:
    """Whether a file begins as one that an earlier test wrote."""
    return beginning.startswith(','.join(COLUMNS).encode())


def _write(path: Path, found: RateRange) -> None:
    rows: list[tuple[Any, ...]] = list(
        zip(found.rates, found.losses, found.smoothed, strict=True)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w', newline='', encoding='utf-8') as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows([f'{value:.8g}' for value in row] for row in rows)
