"""When two boxes overlap too much: all implementations decide alike, ties included.

An IoU of exactly the threshold, as 10x10 with 10x6 at 0.6, does not exceed it. In
float32 it may round to above, so sides, areas and the quotient are of double precision,
in the order of torchvision's CPU kernel.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def single_threshold(iou_threshold: float) -> float:
    """Return the smallest number of single precision that is not below a threshold.

    A quotient that rounds to the threshold in single precision does not exceed it; and
    the number is the same to a kernel, whose arguments are of single precision.
    """
    threshold = np.float32(iou_threshold)
    if float(threshold) < iou_threshold:
        threshold = np.nextafter(threshold, np.float32(np.inf))
    return float(threshold)


def overlaps(first: Tensor, second: Tensor, threshold: float) -> Tensor:
    """Say which pairs have an IoU above a threshold.

    Three (B..., M, K) buffers of float64 live at a time. No pair with a NaN does.

    Args:
        first (Tensor): Boxes, xyxy, float64, shape (B..., M, 4).
        second (Tensor): Boxes, xyxy, float64, shape (B..., K, 4).
        threshold (float): Of :func:`single_threshold`.

    Returns:
        Tensor: bool, shape (B..., M, K).
    """
    x1, y1, x2, y2 = (side.unsqueeze(-1) for side in first.unbind(-1))  # (B..., M, 1)
    # One contiguous row a coordinate, so that the (M, K) operations below vectorise.
    columns = second.transpose(-1, -2).contiguous()  # (B..., 4, K)
    u1, v1, u2, v2 = (side.unsqueeze(-2) for side in columns.unbind(-2))
    common = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    common *= torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
    union = ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1)).sub_(common)
    return common.div_(union) > threshold
