"""Torchvision's NMS, with one arithmetic on every device."""

from __future__ import annotations

import numpy as np
import torchvision
from torch import Tensor


def suppress(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return the indices of the boxes (M, 4) that are kept, by falling score.

    Every device decides alike, ties included.

    An IoU of exactly the threshold, as 10x10 with 10x6 at 0.6, does not exceed it. In
    float32 it may round to above; and torchvision's CPU kernel compares with the
    threshold in double, its CUDA kernel in single precision, which may be less.
    """
    threshold = np.float32(iou_threshold)
    if float(threshold) < iou_threshold:
        threshold = np.nextafter(threshold, np.float32(np.inf))
    return torchvision.ops.nms(boxes.double(), scores.double(), float(threshold))
