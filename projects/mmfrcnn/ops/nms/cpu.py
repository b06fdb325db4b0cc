"""Group by group."""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.ops.nms.one_group import suppress


def grouped_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float
) -> Tensor:
    """Suppress within groups; see :func:`mmfrcnn.ops.nms.grouped_nms`."""
    # On a CPU there is no device to wait for, and one call over all groups would cost
    # the square of their number: each group is suppressed by itself.
    keep = torch.zeros_like(groups, dtype=torch.bool)
    order = groups.argsort(stable=True)
    sizes = torch.bincount(groups).tolist()
    for members in order.split(sizes):
        if len(members):
            kept = suppress(boxes[members], scores[members], iou_threshold)
            keep[members[kept]] = True
    return keep
