"""What a stage of a cascade hands to the next: its boxes, refined.

Shapes: N images, P proposal slots, K samples an image, C classes.
"""

from __future__ import annotations

import torch
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor

from mmfrcnn.modeling.box_stage import deltas_of, refine_boxes
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.regions import Regions


def refine_likeliest(
    head: BBoxHead,
    boxes: Tensor,
    scores: Tensor,
    deltas: Tensor,
    sizes: Tensor,
    known: Tensor | None = None,
) -> Tensor:
    """Refine each box as its likeliest class would have it, or a class that is known.

    Args:
        head (BBoxHead): Whose scores and deltas they are.
        boxes (Tensor): xyxy in input pixels, float32, shape (N, P, 4).
        scores (Tensor): Class scores, shape (N * P, C + 1).
        deltas (Tensor): Shape (N * P, 4 C) or (N * P, 4).
        sizes (Tensor): (height, width) of each image, shape (N, 2).
        known (Tensor | None): Classes, C where they are not known, shape (N, P).

    Returns:
        Tensor: xyxy, float32, shape (N, P, 4).
    """
    labels = scores[:, :-1].argmax(1)
    if known is not None:
        known = known.view(-1)
        labels = torch.where(known == head.num_classes, labels, known)
    return refine_boxes(head, boxes, deltas_of(deltas, labels), sizes)[:, :, 0]


@torch.no_grad()
def next_proposals(
    head: BBoxHead, regions: Regions, scores: Tensor, deltas: Tensor, sizes: Tensor
) -> PaddedInstances:
    """Refine what a stage was trained on, but not the ground truth, added anew.

    Args:
        head (BBoxHead): Whose scores and deltas they are.
        regions (Regions): In N x K slots.
        scores (Tensor): Class scores, shape (N * K, C + 1).
        deltas (Tensor): Shape (N * K, 4 C) or (N * K, 4).
        sizes (Tensor): (height, width) of each image, shape (N, 2).

    Returns:
        PaddedInstances: N x K slots.
    """
    boxes = refine_likeliest(
        head, regions.boxes, scores, deltas, sizes, known=regions.labels
    )
    return PaddedInstances(boxes, regions.sample.valid & ~regions.given)
