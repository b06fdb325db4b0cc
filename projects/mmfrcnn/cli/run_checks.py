"""What a schedule or two pipelines are about to do wrong, said before training.

Nothing here ends a run: each function yields lines for the log, with the figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config

Scale = tuple[float, float]  # shorter, longer side in pixels


def schedule_warnings(schedulers: Any, iters: int, epochs: int) -> Iterator[str]:
    """Say which parts of a learning-rate schedule lie beyond the end of the run.

    Args:
        schedulers (Any): mmengine's built schedulers: a list, a dict of lists (one an
            optimizer), or None.
        iters (int): Iterations of the run.
        epochs (int): Its epochs; a loop by iterations has one.
    """
    if isinstance(schedulers, dict):
        for part in schedulers.values():
            yield from schedule_warnings(part, iters, epochs)
        return
    for scheduler in schedulers or ():
        length, unit = (
            (epochs, 'epochs') if scheduler.by_epoch else (iters, 'iterations')
        )
        fault = _beyond_the_end(scheduler, length, unit)
        if fault:
            name = type(scheduler).__name__
            yield f'param_scheduler: {name} {fault}. The run has {length} {unit}'


def _beyond_the_end(scheduler: Any, length: int, unit: str) -> str:
    """Return what a scheduler plans that a run of this length doesn't get to, or ''."""
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
        # The last step of a warm-up is the first one at the full rate.
        if end >= length:
            return (
                f'warms up for {end - begin} {unit}, longer than the run: the learning '
                f'rate gets to {_factor_at(scheduler, length - 1):.1%} of its value'
            )
        return ''
    cycle = getattr(scheduler, 'total_steps', getattr(scheduler, 'T_max', 0))
    last = begin + cycle if cycle else end
    if (cycle or hasattr(scheduler, 'total_iters')) and last > length:
        return f'is planned for {last} {unit} and is cut off before it ends'
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


def scale_warnings(config: Config) -> Iterator[str]:
    """Say where images are tested at a size that training never shows.

    A pipeline without ``Resize``, with one whose sizes depend on the image, or that
    mixes images of several sizes into one, tells no sizes, and so nothing is said.
    """
    train = _scales(config.get('train_dataloader'))
    for name in ('val_dataloader', 'test_dataloader'):
        test = _scales(config.get(name))
        if not train or not test or _within(test, train):
            continue
        yield (
            f'{name}: images are resized to {_named(test)}, and for training to '
            f'{_named(train)}; a detector is best at the sizes it was trained on. '
            'Give Resize in both pipelines the same scale'
        )
        return


def _within(test: Sequence[Scale], train: Sequence[Scale]) -> bool:
    """Whether the sides of all test scales lie in the range of the training's."""
    return all(
        min(scale[side] for scale in train)
        <= one[side]
        <= max(scale[side] for scale in train)
        for one in test
        for side in (0, 1)
    )


def _named(scales: Sequence[Scale]) -> str:
    """Write scales as configs do, the longer side first."""
    low, high = min(scales), max(scales)
    texts = [f'({longer:g}, {shorter:g})' for shorter, longer in (low, high)]
    return texts[0] if low == high else ' to '.join(texts)


def _scales(node: Any) -> list[Scale]:
    """Collect the scales of all resizing steps below a config node."""
    if isinstance(node, list | tuple):
        return [scale for one in node for scale in _scales(one)]
    if not isinstance(node, dict):
        return []
    kind = node.get('type')
    kind = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    if 'img_scale' in node:  # Mosaic, MixUp: images of any size
        return [(0, 0), (math.inf, math.inf)]
    if kind.endswith('Resize'):
        return list(_scales_of_step(node))
    return [scale for value in node.values() for scale in _scales(value)]


def _scales_of_step(step: dict) -> Iterator[Scale]:
    """Yield the smallest and the largest scale, or all, that a step resizes to."""
    given = step.get('scales', step.get('scale')) or ()
    several = isinstance(given, list | tuple) and not _is_pair(given)
    ratios = step.get('ratio_range') or (1, 1)
    for one in given if several else [given]:
        pair: Any = one if _is_pair(one) else (one, one)
        if all(isinstance(side, int | float) for side in pair):
            for ratio in ratios:
                yield (min(pair) * ratio, max(pair) * ratio)


def _is_pair(value: Any) -> bool:
    """Whether a value is a width and a height."""
    if not isinstance(value, list | tuple):
        return False
    return len(value) == 2 and not isinstance(value[0], list | tuple)
