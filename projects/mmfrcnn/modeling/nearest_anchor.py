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
    anchors = _placed(boxes, base, stride, cells)
    low = np.maximum(boxes[:, None, :2], anchors[..., :2])
    high = np.minimum(boxes[:, None, 2:], anchors[..., 2:])
    width, height = np.moveaxis((high - low).clip(0), -1, 0)
    shared = width * height
    return shared / (_areas(boxes)[:, None] + _areas(base) - shared)


def _placed(
    boxes: np.ndarray,
    base: np.ndarray,
    stride: Sequence[int],
    cells: np.ndarray | None,
) -> np.ndarray:
    """Put each anchor into the cell that brings it nearest each box, (G, A, 4)."""
    step = np.array(stride, float)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    offsets = (base[:, :2] + base[:, 2:]) / 2
    cell = np.round((centres[:, None] - offsets) / step)  # (G, A, 2)
    if cells is not None:
        cell = cell.clip(0, cells[:, None] - 1)
    return base + np.tile(cell * step, 2)


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


def nearest_of_pyramid(
    boxes: np.ndarray, generator: AnchorGenerator, cells: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the anchor of largest IoU with each box, the finest level's of equals.

    Args:
        boxes (np.ndarray): xyxy in pixels of the network's input, float (G, 4).
        generator (AnchorGenerator): Of A anchors a cell, on all L levels.
        cells (Sequence[np.ndarray]): As :func:`pyramid_iou` takes them.

    Returns:
        tuple: Its IoU (G,), its level, int (G,), and itself, xyxy (G, 4).
    """
    iou = pyramid_iou(boxes, generator, cells)
    levels = iou.max(2).argmax(1)
    anchors = np.zeros((len(boxes), 4))
    for level, base in enumerate(generator.base_anchors):
        rows = levels == level
        own = cells[level] if len(cells[level]) == 1 else cells[level][rows]
        given = base.cpu().double().numpy(), generator.strides[level], own
        placed = _placed(boxes[rows], *given)
        anchors[rows] = placed[np.arange(len(placed)), iou[rows, level].argmax(1)]
    return iou.max((1, 2)), levels, anchors


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
