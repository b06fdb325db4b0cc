"""The largest IoU of boxes with the anchors of a grid, without making the grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmdet.models.task_modules import AnchorGenerator


def nearest_iou(
    boxes: np.ndarray,
    base: np.ndarray,
    stride: Sequence[int],
    cells: np.ndarray | None = None,
) -> np.ndarray:
    """Return the largest IoU of each box with each anchor, wherever the anchor stands.

    A box and an anchor share a width, which only the anchor's column decides, times a
    height, which only its row decides; both grow as the centres approach. So the cell
    that brings the centres nearest along both axes has the largest IoU of the level:
    exactly, and where the grid ends, too.

    Args:
        boxes (np.ndarray): xyxy in pixels of the network's input, float (G, 4).
        base (np.ndarray): The anchors of a level's first cell, likewise, float (A, 4).
        stride (Sequence[int]): Steps of the level, (x, y), in the same pixels.
        cells (np.ndarray | None): Columns and rows of the level in the image of each
            box, int (G, 2). None: the grid has no end.

    Returns:
        np.ndarray: float (G, A).
    """
    step = np.array(stride, float)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    offsets = (base[:, :2] + base[:, 2:]) / 2
    cell = np.round((centres[:, None] - offsets) / step)  # (G, A, 2)
    if cells is not None:
        cell = cell.clip(0, cells[:, None] - 1)
    shift = cell * step
    low = np.maximum(boxes[:, None, :2], base[:, :2] + shift)
    high = np.minimum(boxes[:, None, 2:], base[:, 2:] + shift)
    width, height = np.moveaxis((high - low).clip(0), -1, 0)
    shared = width * height
    return shared / (_areas(boxes)[:, None] + _areas(base) - shared)


def pyramid_iou(
    boxes: np.ndarray, generator: AnchorGenerator, cells: Sequence[np.ndarray]
) -> np.ndarray:
    """Return the largest IoU of each box with each anchor of a cell on each level.

    Args:
        boxes (np.ndarray): xyxy in pixels of the network's input, float (G, 4).
        generator (AnchorGenerator): Of A anchors a cell, on all L levels.
        cells (Sequence[np.ndarray]): Columns and rows of each level in the image of
            each box, int (G, 2), or in all of them, (1, 2).

    Returns:
        np.ndarray: float64, shape (G, L, A).
    """
    levels = [
        nearest_iou(boxes, base.cpu().double().numpy(), stride, of_level)
        for base, stride, of_level in zip(
            generator.base_anchors, generator.strides, cells, strict=True
        )
    ]
    return np.stack(levels, 1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
