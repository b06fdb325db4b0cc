"""What a learning-rate schedule is about to do wrong, said before training.

Each scheduler is held beside the length of the run. Then all are stepped through the
whole run, on an optimizer that stands in for the real one: so a rate that is near zero
for most of it is seen, whatever brings it there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import PARAM_SCHEDULERS
from torch.optim import SGD

from mmfrcnn.errors import UserError

LOW = ((0.01, 0.5), (0.1, 0.75))
"""A rate at or below the first share of its value, for more than the second of a run.

Step schedules of the field stay clear: a tenth from 60% on, a hundredth from 85% on.
"""


@dataclass(frozen=True)
class Length:
    """How long a run is.

    Attributes:
        iters (int): Its iterations.
        epochs (int): Its epochs; a loop by iterations has one.
        loader (int): Iterations of one pass over the data.
    """

    iters: int
    epochs: int
    loader: int


def schedule_warnings(
    schedule: Any, groups: Sequence[dict], length: Length
) -> Iterator[str]:
    """Say where a schedule goes beyond the end of a run, or keeps its rate near zero.

    Args:
        schedule (Any): ``param_scheduler`` of a config: a dict, a list, or None.
        groups (Sequence[dict]): The optimizer's groups, for their learning rates.
        length (Length): Of the run.

    Yields:
        str: A line for the log, with the figures.

    Raises:
        UserError: If a scheduler will fail in the middle of the run, as those do that
            have a fixed number of steps.
    """
    schedulers, stand_in = _built(schedule, groups, length)
    said = False
    for scheduler in schedulers:
        by_epoch = scheduler.by_epoch
        number, unit = (
            (length.epochs, 'epochs') if by_epoch else (length.iters, 'iterations')
        )
        fault = _beside_the_run(scheduler, number, unit)
        if fault:
            said = True
            name = type(scheduler).__name__
            yield f'param_scheduler: {name} {fault}. The run has {number} {unit}'
    shares = _shares(schedulers, stand_in, length)
    if not said:
        yield from _near_zero(shares, schedulers)


def _built(
    schedule: Any, groups: Sequence[dict], length: Length
) -> tuple[list[Any], SGD]:
    """Build schedulers as the Runner does, for an optimizer with the same rates."""
    rates = [group.get('initial_lr', group['lr']) for group in groups]
    stand_in = SGD(
        [{'params': [torch.zeros(1)], 'lr': rate} for rate in rates], momentum=0.9
    )
    if schedule is None:
        return [], stand_in
    schedulers = []
    for one in schedule if isinstance(schedule, list | tuple) else [schedule]:
        config = copy.deepcopy(one)
        by_epoch = config.get('by_epoch', True)
        config.setdefault('end', length.epochs if by_epoch else length.iters)
        more = {'optimizer': stand_in, 'epoch_length': length.loader}
        schedulers.append(PARAM_SCHEDULERS.build(config, default_args=more))
    vars(stand_in)['_global_step'] = 0  # or mmengine warns that it isn't stepped
    return schedulers, stand_in


def _shares(schedulers: Sequence[Any], stand_in: SGD, length: Length) -> list[float]:
    """Return the learning rate at each iteration as a share of its configured value."""

    def full(group: dict) -> float:
        return group.get('max_lr', group.get('initial_lr', group['lr']))

    group = max(stand_in.param_groups, key=full)
    epoch = max(length.iters // max(length.epochs, 1), 1)
    shares = []
    for iteration in range(1, length.iters + 1):
        shares.append(group['lr'] / full(group) if full(group) else 1.0)
        for scheduler in schedulers:
            if scheduler.by_epoch and iteration % epoch:
                continue
            try:
                scheduler.step()
            except ValueError as error:
                raise UserError(
                    f'param_scheduler: {type(scheduler).__name__} fails after '
                    f'iteration {iteration} of {length.iters}: {error}. Let it be '
                    'as long as the run, or end the run with it'
                ) from error
    return shares


def _near_zero(shares: Sequence[float], schedulers: Sequence[Any]) -> Iterator[str]:
    """Say that the rate is too low for too much of the run to be meant so."""
    for low, most in LOW:
        count = sum(share <= low * 1.000001 for share in shares)
        if count > most * len(shares):
            counted = ', '.join(
                f'{type(one).__name__} {"epochs" if one.by_epoch else "iterations"}'
                for one in schedulers
            )
            yield (
                f'param_scheduler: the learning rate is at {low:.0%} of its value or '
                f'below for {count} of the {len(shares)} iterations of the run. '
                f'Is a number of epochs meant that is '
                f'counted in iterations (by_epoch=False)? Counted are: {counted}'
            )
            return


def _beside_the_run(scheduler: Any, length: int, unit: str) -> str:
    """Return what a scheduler plans that doesn't fit a run of this length, or ''."""
    begin, end = scheduler.begin, getattr(scheduler, 'end', 0)
    if begin >= length:
        return f'begins at {begin} {unit} and so never acts'
    milestones = sorted(getattr(scheduler, 'milestones', ()))
    beyond = [milestone for milestone in milestones if begin + milestone >= length]
    if beyond:
        return f'has milestones that are never reached: {", ".join(map(str, beyond))}'
    step = getattr(scheduler, 'step_size', 0)
    if begin + step >= length:
        return f'takes its first step after {step} {unit}, which is never reached'
    if _first_factor(scheduler) < 1:
        return _warm_up(scheduler, length, unit)
    cycle = getattr(scheduler, 'total_steps', getattr(scheduler, 'T_max', 0))
    last = begin + cycle if cycle else end
    if (cycle or hasattr(scheduler, 'total_iters')) and last > length:
        return f'is planned for {last} {unit} and is cut off before it ends'
    turns = (min(end, length) - begin) // getattr(scheduler, 'T_max', length)
    if turns > 1:
        return (
            f'has T_max={cycle} and goes on until {end}: the learning rate falls and '
            f'rises {turns} times'
        )
    return ''


def _warm_up(scheduler: Any, length: int, unit: str) -> str:
    """Return what a warm-up doesn't get to, or how much of the run it takes, or ''."""
    planned = scheduler.end - scheduler.begin
    # The last step of a warm-up is the first one at the full rate.
    if scheduler.end >= length:
        return (
            f'warms up for {planned} {unit}, longer than the run: the learning '
            f'rate gets to {_factor_at(scheduler, length - 1):.1%} of its value'
        )
    if 2 * planned >= length:
        return f'warms up for {planned} {unit}, {planned / length:.0%} of the run'
    return ''


def _first_factor(scheduler: Any) -> float:
    """Return what a warm-up multiplies the rate by at first, 1 for other schedules."""
    if 'Warmup' in type(scheduler).__name__ or 'WarmUp' in type(scheduler).__name__:
        return 0.0
    if hasattr(scheduler, 'start_factor'):
        rises = scheduler.start_factor < scheduler.end_factor
        return scheduler.start_factor if rises else 1.0
    has_end = hasattr(scheduler, 'total_iters')
    return getattr(scheduler, 'factor', 1.0) if has_end else 1.0


def _factor_at(scheduler: Any, step: int) -> float:
    """Return what a warm-up multiplies the rate by after some steps of the run."""
    share = (step - scheduler.begin) / max(scheduler.total_iters, 1)
    if hasattr(scheduler, 'start_factor'):
        rise = scheduler.end_factor - scheduler.start_factor
        return scheduler.start_factor + rise * min(share, 1)
    return getattr(scheduler, 'factor', share**2)
