"""Intersection over union of every pair of two sets of boxes.

Shapes: B any leading batch dimensions (broadcast), M and K numbers of boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

# mmdet's `bbox_overlaps` keeps unions at least this large; equal results need it.
SMALLEST_UNION = 1e-6


def pairwise_iou(first: Tensor, second: Tensor, *, over_first: bool = False) -> Tensor:
    """Return the IoU of each box in ``first`` with each box in ``second``.

    The order of the floating-point operations is that of mmdet's ``bbox_overlaps``,
    so results are equal to the last bit: thresholds and ties decide alike.

    Args:
        first (Tensor): Boxes, xyxy, shape (B..., M, 4).
        second (Tensor): Boxes, xyxy, shape (B..., K, 4).
        over_first (bool): Divide by the area of the first box instead of the union
            (intersection over foreground).

    Returns:
        Tensor: Values in [0, 1], shape (B..., M, K). A box without area has IoU 0.

    Example:
        >>> a = torch.tensor([[0., 0., 10., 10.]])
        >>> pairwise_iou(a, torch.tensor([[0., 0., 10., 5.], [20., 20., 30., 30.]]))
        tensor([[0.5000, 0.0000]])
    """
    x1, y1, x2, y2 = (side.unsqueeze(-1) for side in first.unbind(-1))  # (B..., M, 1)
    # One contiguous row a coordinate, so that the (M, K) operations below vectorise.
    columns = second.transpose(-1, -2).contiguous()  # (B..., 4, K)
    u1, v1, u2, v2 = (side.unsqueeze(-2) for side in columns.unbind(-2))
    # Written in place: at most three (B..., M, K) buffers live at a time.
    intersection = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    intersection *= torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
    first_area = (x2 - x1) * (y2 - y1)  # (B..., M, 1)
    if over_first:
        return intersection / first_area.clamp(min=SMALLEST_UNION)
    union = (first_area + (u2 - u1) * (v2 - v1)).sub_(intersection)
    return intersection.div_(union.clamp_(min=SMALLEST_UNION))
