"""Whether images are tested at sizes that training shows, said before training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config

Scale = tuple[float, float]  # shorter, longer side in pixels


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
