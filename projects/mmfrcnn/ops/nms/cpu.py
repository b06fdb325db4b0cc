"""Group by group."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from mmfrcnn.ops.nms.overlap import single_threshold


def grouped_nms(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    iou_threshold: float,
    largest_group: int | None = None,
    num_groups: int | None = None,
) -> Tensor:
    """Suppress within groups; see :func:`mmfrcnn.ops.nms.grouped_nms`."""
    # On a CPU there is no device to wait for: the sizes of the groups are asked for,
    # and each is suppressed by itself.
    boxes, scores = boxes.double(), scores.double()
    threshold = single_threshold(iou_threshold)
    keep = torch.zeros_like(groups, dtype=torch.bool)
    order = groups.argsort(stable=True)
    for members in order.split(torch.bincount(groups).tolist()):
        if len(members):
            kept = torchvision.ops.nms(boxes[members], scores[members], threshold)
            keep[members[kept]] = True
    return keep
