"""Non-maximum suppression of many groups of boxes in one call.

A group is what suppresses only within itself: one (image, level) of the proposals, one
(image, class) of the detections. The result is a mask over fixed slots, not a list of
survivors, so nothing after it depends on how many survived.
"""

from __future__ import annotations

import numpy as np
import torch
import torchvision
from torch import Tensor


def suppress_at_offsets(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float
) -> Tensor:
    """Suppress all groups in one call, moved apart: :func:`grouped_nms` off the CPU."""
    # Groups are moved apart so that one call serves all. In float32 the shift would
    # cost the boxes their fraction bits (0.06 px at 640 groups of 1,333 px). By a power
    # of two no bits are lost in float64, so that sides and IoUs stay what they are.
    boxes = boxes.double()
    if boxes.numel():
        span = torch.exp2((boxes.amax() - boxes.amin() + 1).log2().ceil())
        boxes = boxes + (groups * span).unsqueeze(-1)
    survivors = _suppress(boxes, scores, iou_threshold)
    keep = torch.zeros_like(groups, dtype=torch.bool)
    return keep.index_fill_(0, survivors, True)


def _suppress(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Run torchvision's NMS so that every device decides alike, ties included.

    An IoU of exactly the threshold, as 10x10 with 10x6 at 0.6, does not exceed it. In
    float32 it may round to above; and torchvision's CPU kernel compares with the
    threshold in double, its CUDA kernel in single precision, which may be less.
    """
    threshold = np.float32(iou_threshold)
    if float(threshold) < iou_threshold:
        threshold = np.nextafter(threshold, np.float32(np.inf))
    return torchvision.ops.nms(boxes.double(), scores.double(), float(threshold))


@torch.library.custom_op('mmfrcnn::grouped_nms', mutates_args=())
def grouped_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float
) -> Tensor:
    """Suppress each box that overlaps a better one of its group too much.

    Greedy, as in Girshick et al. (2014), section 2.2: in order of falling score, a box
    is kept unless its IoU with a kept box of the same group exceeds the threshold.

    Args:
        boxes (Tensor): Boxes, xyxy, float, shape (M, 4).
        scores (Tensor): Scores, shape (M,).
        groups (Tensor): Group of each box, int64 >= 0, shape (M,).
        iou_threshold (float): Suppress above this IoU.

    Returns:
        Tensor: True where the box is kept, bool, shape (M,).

    Example:
        >>> boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.], [0., 0., 9., 8.]])
        >>> scores = torch.tensor([.9, .8, .7])
        >>> grouped_nms(boxes, scores, torch.tensor([0, 0, 1]), 0.5)
        tensor([ True, False,  True])
    """
    return suppress_at_offsets(boxes, scores, groups, iou_threshold)


@grouped_nms.register_kernel('cpu')
def _grouped_nms_cpu(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float
) -> Tensor:
    # On a CPU there is no device to wait for, and one call over all groups would cost
    # the square of their number: each group is suppressed by itself.
    keep = torch.zeros_like(groups, dtype=torch.bool)
    order = groups.argsort(stable=True)
    sizes = torch.bincount(groups).tolist()
    for members in order.split(sizes):
        if len(members):
            kept = _suppress(boxes[members], scores[members], iou_threshold)
            keep[members[kept]] = True
    return keep


@grouped_nms.register_fake
def _grouped_nms_shape(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float
) -> Tensor:
    return torch.empty_like(groups, dtype=torch.bool)
