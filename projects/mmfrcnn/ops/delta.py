"""Boxes as deltas from other boxes, and back (Girshick et al. 2014, appendix C).

Boxes are xyxy in pixels. Means and deviations are plain numbers: as tensors they would
be copied to the device at every call, and each copy makes the host wait.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MEANS, DEVIATIONS = (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0)
SMALLEST_RATIO = 16 / 1000
"""No side shrinks below this share of the box's own, nor grows beyond its inverse."""


def encode_boxes(
    boxes: Tensor,
    targets: Tensor,
    means: Sequence[float] = MEANS,
    deviations: Sequence[float] = DEVIATIONS,
) -> Tensor:
    """Return the deltas that turn boxes into their targets.

    Args:
        boxes (Tensor): xyxy, shape (..., 4).
        targets (Tensor): xyxy, shape (..., 4).
        means (Sequence[float]): Taken from the four deltas.
        deviations (Sequence[float]): By which they are divided then.

    Returns:
        Tensor: (dx, dy) in the box's sides and (dw, dh) as logarithms of the ratios of
        sides, float32, shape (..., 4).

    Example:
        >>> box, target = torch.tensor([[0., 0., 10., 10.], [2., 0., 12., 20.]])
        >>> encode_boxes(box, target)
        tensor([0.2000, 0.5000, 0.0000, 0.6931])
    """
    left, top, right, bottom = boxes.float().unbind(-1)
    goal_left, goal_top, goal_right, goal_bottom = targets.float().unbind(-1)
    width, height = right - left, bottom - top
    deltas = (
        ((goal_left + goal_right) * 0.5 - (left + right) * 0.5) / width,
        ((goal_top + goal_bottom) * 0.5 - (top + bottom) * 0.5) / height,
        ((goal_right - goal_left) / width).log(),
        ((goal_bottom - goal_top) / height).log(),
    )
    columns = zip(deltas, means, deviations, strict=True)
    return torch.stack([(delta - mean) / by for delta, mean, by in columns], -1)


def decode_boxes(
    boxes: Tensor,
    deltas: Tensor,
    means: Sequence[float] = MEANS,
    deviations: Sequence[float] = DEVIATIONS,
    smallest_ratio: float = SMALLEST_RATIO,
) -> Tensor:
    """Apply deltas to boxes: the inverse of :func:`encode_boxes`.

    Args:
        boxes (Tensor): xyxy, shape (..., 4).
        deltas (Tensor): As :func:`encode_boxes` returns them, shape (..., 4).
        means (Sequence[float]): As in :func:`encode_boxes`.
        deviations (Sequence[float]): Likewise.
        smallest_ratio (float): Of a side to the box's; its inverse is the largest.

    Returns:
        Tensor: xyxy, not clipped to any image, shape (..., 4).

    Example:
        >>> box = torch.tensor([0., 0., 10., 10.])
        >>> decode_boxes(box, torch.tensor([0.2, 0.5, 0., 0.]))
        tensor([ 2.,  5., 12., 15.])
    """
    limit = abs(math.log(smallest_ratio))
    left, top, right, bottom = boxes.unbind(-1)
    columns = zip(deltas.unbind(-1), deviations, means, strict=True)
    dx, dy, dw, dh = (delta * by + mean for delta, by, mean in columns)
    width, height = right - left, bottom - top
    x = (left + right) * 0.5 + width * dx
    y = (top + bottom) * 0.5 + height * dy
    half_width = width * dw.clamp(-limit, limit).exp() * 0.5
    half_height = height * dh.clamp(-limit, limit).exp() * 0.5
    corners = [x - half_width, y - half_height, x + half_width, y + half_height]
    return torch.stack(corners, -1)
