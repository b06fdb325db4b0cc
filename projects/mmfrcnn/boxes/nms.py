"""Non-maximum suppression of many groups of boxes in one call.

A group is what suppresses only within itself: one (image, level) of the proposals, one
(image, class) of the detections. The result is a mask over fixed slots, not a list of
survivors, so nothing after it depends on how many survived.
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor


def suppress_at_offsets(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float
) -> Tensor:
    """Suppress all groups in one call, moved apart: :func:`grouped_nms` off the CPU."""
    # Groups are moved apart so that one call serves all. In float32 the shift would
    # cost the boxes their fraction bits (0.06 px at 640 groups of 1,333 px).
    boxes = boxes.double()
    span = boxes.amax() - boxes.amin() + 1 if boxes.numel() else 0.0
    apart = boxes + (groups * span).unsqueeze(-1)
    survivors = torchvision.ops.nms(apart, scores.double(), iou_threshold)
    keep = torch.zeros_like(groups, dtype=torch.bool)
    return keep.index_fill_(0, survivors, True)


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
    boxes, scores = boxes.float(), scores.float()
    for members in order.split(sizes):
        if len(members):
            kept = torchvision.ops.nms(boxes[members], scores[members], iou_threshold)
            keep[members[kept]] = True
    return keep


@grouped_nms.register_fake
def _grouped_nms_shape(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float
) -> Tensor:
    return torch.empty_like(groups, dtype=torch.bool)
