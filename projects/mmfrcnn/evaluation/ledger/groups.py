"""Groups of objects by what may make them hard to find.

Shapes: G objects of an image, or of several.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mmfrcnn.ops.iou import pairwise_iou

SIZES = ('small', 'medium', 'large')
ASPECTS = ('tall', 'regular', 'wide')
SMALL, MEDIUM = 32.0**2, 96.0**2  # COCO's
BORDER = 2.0  # pixels
AT_ONCE = 1 << 22
"""Pairs of objects that are compared at once, so that memory is bounded."""


def sizes_of(boxes: np.ndarray) -> np.ndarray:
    """Return one of `SIZES` for boxes xyxy (G, 4), by COCO's bounds of the area."""
    return _named((boxes[:, 2:] - boxes[:, :2]).prod(1), (SMALL, MEDIUM), SIZES)


def aspects_of(boxes: np.ndarray) -> np.ndarray:
    """Return one of `ASPECTS` for boxes xyxy (G, 4): twice as high or wide."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).clip(1e-6).T
    return _named(width / height, (0.5, 2.0), ASPECTS)


def groups_of(boxes: np.ndarray, shape: Sequence[int]) -> dict[str, np.ndarray]:
    """Name the groups of each object of an image.

    Args:
        boxes (np.ndarray): All objects, xyxy in pixels of the image, shape (G, 4).
        shape (Sequence[int]): (height, width) of the image in its own pixels.

    Returns:
        dict: ``size``, ``aspect``, ``crowding`` (by the largest IoU with another
        object) and ``position``, a name an object each, (G,).
    """
    low, high = boxes[:, :2].min(1), (np.array(shape[1::-1]) - boxes[:, 2:]).min(1)
    shared = _most_shared(torch.from_numpy(boxes)).numpy()
    return {
        'size': sizes_of(boxes),
        'aspect': aspects_of(boxes),
        'crowding': _named(shared, (1e-9, 0.3), ('alone', 'near', 'hid')),
        'position': _named(np.minimum(low, high), (BORDER,), ('at the border', 'in')),
    }


def _named(
    values: np.ndarray, bounds: Sequence[float], names: Sequence[str]
) -> np.ndarray:
    return np.array(names)[np.searchsorted(bounds, values, 'right')]


def _most_shared(boxes: torch.Tensor) -> torch.Tensor:
    """Return the largest IoU of each box with another, (G,)."""
    found = boxes.new_zeros(len(boxes))
    if not len(boxes):
        return found
    for places in torch.arange(len(boxes)).split(max(1, AT_ONCE // len(boxes))):
        iou = pairwise_iou(boxes[places], boxes)
        iou[torch.arange(len(places)), places] = 0
        found[places] = iou.max(1).values
    return found
