"""Coverage as a table for the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mmfrcnn.cli.anchor_fit.coverage import Coverage
from mmfrcnn.cli.anchor_fit.objects import Objects
from mmfrcnn.evaluation.ledger.groups import ASPECTS, SIZES


def table(
    objects: Objects,
    coverage: Coverage,
    strides: Sequence[tuple[int, int]],
    thresholds: Sequence[float],
) -> str:
    """Return recall at some IoUs and anchors an object, of all objects and of groups.

    Args:
        objects (Objects): What is covered.
        coverage (Coverage): Of the same objects.
        strides (Sequence[tuple]): Steps (x, y) of each level.
        thresholds (Sequence[float]): IoUs of the columns.
    """
    heads = [f'IoU {one:g}' for one in thresholds]
    columns = ''.join(f'{head:>8}' for head in heads)
    lines = [f'  {"":<10} objects{columns} mean IoU positives sampled']
    for name, mask in _groups(objects, coverage, strides):
        lines.append(f'  {name:<10}{mask.sum():>8}' + _row(coverage, mask, thresholds))
    return '\n'.join(lines)


def _row(coverage: Coverage, mask: np.ndarray, thresholds: Sequence[float]) -> str:
    if not mask.any():
        return ''
    iou = coverage.iou[mask]
    shares = ''.join(f'{(iou >= one).mean():>8.1%}' for one in thresholds)
    anchors = coverage.positives[mask].mean(), coverage.sampled[mask].mean()
    return f'{shares}{iou.mean():>9.3f}{anchors[0]:>10.2f}{anchors[1]:>8.2f}'


def _groups(
    objects: Objects, coverage: Coverage, strides: Sequence[tuple[int, int]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each group of objects, and which belong to it, bool, (G,)."""
    yield 'all', np.ones(len(objects.boxes), bool)
    for names, kinds in ((SIZES, objects.sizes), (ASPECTS, objects.aspects)):
        for name in names:
            yield name, kinds == name
    for level, stride in enumerate(strides):
        yield f'stride {about_strides([stride])}', coverage.level == level


def remarks(
    objects: Objects, coverage: Coverage, strides: Sequence[tuple[int, int]]
) -> Iterator[str]:
    """Say what the table does not: steps too long, levels unused, objects untrained."""
    step = np.array(strides)[coverage.level]
    short = (objects.sides < step).any(1)
    yield (
        f'{short.sum()} objects ({short.mean():.1%}) have a side shorter than one step '
        'of the level of their nearest anchor.'
    )
    none = coverage.positives == 0
    yield f'{none.sum()} objects ({none.mean():.1%}) have no positive anchor.'
    unused = [
        stride
        for level, stride in enumerate(strides)
        if not (coverage.level == level).any()
    ]
    if unused:
        yield f'No object has its nearest anchor at stride {about_strides(unused)}.'


def about_strides(strides: Sequence[tuple[int, int]]) -> str:
    """Join strides, each as one number where its two are equal."""
    return ', '.join(str(x) if x == y else f'{x}x{y}' for x, y in strides)
