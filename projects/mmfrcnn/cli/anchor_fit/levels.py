"""The levels of the pyramid that objects need.

A feature pyramid makes coarser levels than the backbone's by halving its last one, as
many as its config asks for. Finer ones than the backbone's there cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet.models.task_modules import AnchorGenerator

from mmfrcnn.cli.anchor_fit.search import ENOUGH


def possible_levels(model: Any, generator: AnchorGenerator) -> list[int]:
    """Return the numbers of levels that a model can have without another backbone.

    From what backbone and RoI extractor have, up to one more than there are; only the
    present number where the neck is no FPN that decides, or a level has settings of
    its own.

    Args:
        model (Any): Config of the detector.
        generator (AnchorGenerator): Its anchors.
    """
    present = generator.num_levels
    neck, settings = model.get('neck'), model.rpn_head.anchor_generator
    if (
        not neck
        or neck.type != 'FPN'
        or neck.get('num_outs') != present
        or neck.get('end_level', -1) not in (-1, len(neck.in_channels) - 1)
        or settings.get('centers')
        or settings.get('base_sizes')
    ):
        return [present]
    extractor = (model.get('roi_head') or {}).get('bbox_roi_extractor') or {}
    stages = extractor if isinstance(extractor, list) else [extractor]
    pooled = [len(one.get('featmap_strides') or ()) for one in stages]
    least = max(len(neck.in_channels) - neck.get('start_level', 0), *pooled)
    return list(range(least, present + 2))


def strides_of(generator: AnchorGenerator, levels: int) -> list[Any]:
    """Return the strides of so many levels, at most one more than there are.

    Args:
        generator (AnchorGenerator): The anchors at present.
        levels (int): How many.

    Returns:
        list: An integer a level, (x, y) where the two are not equal.
    """
    *_, (x, y) = generator.strides
    strides = [*generator.strides, (2 * x, 2 * y)][:levels]
    return [x if x == y else (x, y) for x, y in strides]


def fewest(recalls: Mapping[int, float]) -> int:
    """Return the fewest levels whose recall is next to the best.

    Args:
        recalls (Mapping[int, float]): Of the best anchors, by number of levels.
    """
    enough = max(recalls.values()) - ENOUGH
    return min(number for number, recall in recalls.items() if recall >= enough)
