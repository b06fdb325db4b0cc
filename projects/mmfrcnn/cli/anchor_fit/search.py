"""The scales and ratios whose anchors reach the most objects.

Shapes: G objects, S scales and R ratios to choose from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmdet.models.task_modules import AnchorGenerator
from mmdet.registry import TASK_UTILS

from mmfrcnn.cli.anchor_fit.coverage import anchor_iou
from mmfrcnn.cli.anchor_fit.objects import Objects

SCALES = tuple(float(f'{2 ** (k / 4):.2g}') for k in range(-4, 21))
"""Times the base size of a level, four an octave, from a half to 32."""
RATIOS = tuple(float(f'{2 ** (k / 2):.2g}') for k in range(-8, 9))
"""Heights over widths, two an octave, from 1:16 to 16:1."""
ENOUGH = 0.005
"""Share of the objects that a set of anchors must reach beside, to be better."""
NEARER = 0.01
"""What an IoU of 1 counts for, beside 1 for each threshold that is reached."""


Chosen = tuple[list[int], list[int]]
"""Places of the scales and of the ratios of a set."""
Recall = Callable[[Chosen], float]


@dataclass(frozen=True)
class Anchors:
    """The anchors of a cell: each scale with each ratio, the same on all levels.

    Attributes:
        scales (tuple[float, ...]): Times the base size of a level, which is its stride.
        ratios (tuple[float, ...]): Heights over widths.
    """

    scales: tuple[float, ...]
    ratios: tuple[float, ...]

    @classmethod
    def of(cls, generator: AnchorGenerator) -> Anchors:
        """Read them from mmdet's generator, which holds them in single precision."""
        scales, ratios = (
            tuple(round(one, 4) for one in values.tolist())
            for values in (generator.scales, generator.ratios)
        )
        return cls(scales, ratios)

    def __str__(self) -> str:
        scales = ', '.join(f'{one:g}' for one in self.scales)
        ratios = ', '.join(f'{one:g}' for one in self.ratios)
        plural = 's' * (self.number > 1)
        return f'{self.number} anchor{plural} a cell: scales {scales}, ratios {ratios}'

    @property
    def number(self) -> int:
        """Anchors a cell."""
        return len(self.scales) * len(self.ratios)

    def changes(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the settings that give these anchors to an anchor generator.

        Args:
            config (dict): The generator's, which may count its scales in octaves.
        """
        octaves = ('octave_base_scale', 'scales_per_octave')
        return {
            'scales': [_plain(scale) for scale in self.scales],
            'ratios': list(self.ratios),
            **{name: None for name in octaves if config.get(name) is not None},
        }


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number


def choose(
    objects: Objects,
    config: dict[str, Any],
    present: Anchors,
    thresholds: Sequence[float],
    per_cell: int,
) -> Anchors:
    """Choose few scales and ratios with the largest mean recall at some IoUs.

    For each number of scales, as many ratios as the bound leaves room for; of each such
    shape the best that exchanges of one scale or ratio lead to, from a start in each
    octave and from the present anchors. Of the best set, what adds next to nothing is
    taken out.

    Args:
        objects (Objects): What is to be reached.
        config (dict): Of the anchor generator.
        present (Anchors): Those it has.
        thresholds (Sequence[float]): IoUs from which on an anchor reaches an object.
        per_cell (int): Anchors a cell, at most.
    """
    scales = sorted({*SCALES, *present.scales})
    ratios = sorted({*RATIOS, *present.ratios})
    table = _reached(objects, config, scales, ratios, thresholds)

    def recall(one: Chosen) -> float:
        return table[np.ix_(*one)].max((0, 1)).mean() / len(thresholds)

    current = (
        [scales.index(one) for one in present.scales],
        [ratios.index(one) for one in present.ratios],
    )
    found = []
    for shape in _shapes(per_cell, table.shape[:2]):
        starts: list[Chosen] = [([first], []) for first in range(0, len(scales), 4)]
        if (len(present.scales), len(present.ratios)) == shape:
            starts.append(current)
        found += [
            _exchanged(_filled(start, shape, table.shape, recall), table.shape, recall)
            for start in starts
        ]
    few = _thinned(max(found, key=recall), recall)
    return Anchors(
        tuple(scales[one] for one in sorted(few[0])),
        tuple(ratios[one] for one in sorted(few[1])),
    )


def _reached(
    objects: Objects,
    config: dict[str, Any],
    scales: Sequence[float],
    ratios: Sequence[float],
    thresholds: Sequence[float],
) -> np.ndarray:
    """Count the thresholds that each anchor reaches for each object, (S, R, G).

    Of anchors that reach as many, a nearer one counts for a little more: a search that
    sees no difference between them does not know which way is better.
    """
    table = np.zeros((len(scales), len(ratios), len(objects.boxes)), np.float32)
    bounds = sorted(thresholds)
    for row, scale in enumerate(scales):
        changes = Anchors((scale,), tuple(ratios)).changes(config)
        generator = TASK_UTILS.build({**config, **changes})
        best = anchor_iou(objects, generator).max(1)  # (G, R)
        table[row] = np.searchsorted(bounds, best.T, 'right') + NEARER * best.T
    return table


def _shapes(per_cell: int, most: Sequence[int]) -> list[tuple[int, int]]:
    """List the numbers of scales and ratios that a bound allows and none surpasses."""
    shapes: dict[int, int] = {}
    for scales in range(1, min(per_cell, most[0]) + 1):
        shapes[min(per_cell // scales, most[1])] = scales
    return [(scales, ratios) for ratios, scales in shapes.items()]


def _filled(
    chosen: Chosen, shape: tuple[int, int], most: Sequence[int], recall: Recall
) -> Chosen:
    """Add the best ratio or scale, one at a time, until a set has its shape."""
    for axis in (1, 0):
        while len(chosen[axis]) < shape[axis]:
            more = [
                _with(chosen, axis, [*chosen[axis], new])
                for new in range(most[axis])
                if new not in chosen[axis]
            ]
            chosen = max(more, key=recall)
    return chosen


def _exchanged(chosen: Chosen, most: Sequence[int], recall: Recall) -> Chosen:
    """Exchange one scale or ratio for another, the best first, while that gains."""
    while True:
        others = [
            _with(chosen, axis, [*_without(chosen[axis], place), new])
            for axis in (0, 1)
            for place in range(len(chosen[axis]))
            for new in range(most[axis])
            if new not in chosen[axis]
        ]
        best = max(others, key=recall, default=chosen)
        if recall(best) <= recall(chosen):
            return chosen
        chosen = best


def _thinned(chosen: Chosen, recall: Recall) -> Chosen:
    """Take out scales and ratios while all that takes less than `ENOUGH`."""
    least = recall(chosen) - ENOUGH
    while True:
        fewer = [
            _with(chosen, axis, _without(chosen[axis], place))
            for axis in (0, 1)
            for place in range(len(chosen[axis]))
            if len(chosen[axis]) > 1
        ]
        best = max(fewer, key=recall, default=None)
        if best is None or recall(best) < least:
            return chosen
        chosen = best


def _with(chosen: Chosen, axis: int, part: list[int]) -> Chosen:
    return (part, chosen[1]) if axis == 0 else (chosen[0], part)


def _without(part: list[int], place: int) -> list[int]:
    return part[:place] + part[place + 1 :]
