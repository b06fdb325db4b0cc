"""What a box head is given and what its outputs mean, for one stage or each of several.

Shapes: N images, P proposal slots, C classes, R = N * P regions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor

from mmfrcnn.modeling.detections import suppress_detections
from mmfrcnn.structures.detections import Detections
from mmfrcnn.structures.image_batch import ImageBatch
from mmfrcnn.structures.padded_instances import PaddedInstances


def number_regions(boxes: Tensor) -> Tensor:
    """Number boxes (N, R', 4) by their image: (N * R', 5)."""
    images, slots = boxes.shape[:2]
    image = torch.arange(images, device=boxes.device, dtype=boxes.dtype)
    image = image[:, None, None].expand(-1, slots, 1)
    return torch.cat([image, boxes], -1).view(-1, 5)


def deltas_of(deltas: Tensor, labels: Tensor) -> Tensor:
    """Return the deltas (R, 4), of (R, 4 C) or (R, 4), of each region's class (R,)."""
    deltas = deltas.unflatten(1, (-1, 4))  # (R, C or 1, 4)
    slot = labels.clamp(max=deltas.shape[1] - 1)
    return deltas.gather(1, slot.view(-1, 1, 1).expand(-1, 1, 4))[:, 0]


def refine_boxes(
    head: BBoxHead, boxes: Tensor, deltas: Tensor, sizes: Tensor
) -> Tensor:
    """Apply deltas to boxes and clip them to their image.

    Args:
        head (BBoxHead): Whose box code it is.
        boxes (Tensor): xyxy in input pixels, float32, shape (N, P, 4).
        deltas (Tensor): Of one box or of C, shape (N * P, 4) or (N * P, 4 C).
        sizes (Tensor): (height, width) of each image, shape (N, 2).

    Returns:
        Tensor: xyxy, float32, shape (N, P, C or 1, 4).
    """
    refined = head.bbox_coder.decode(boxes.reshape(-1, 4), deltas.float())
    refined = refined.unflatten(0, boxes.shape[:2]).unflatten(2, (-1, 4))
    limit = sizes.flip(-1).repeat(1, 2)  # (N, 4): w, h, w, h
    return torch.minimum(refined.clamp(min=0), limit[:, None, None])


def detect(
    head: BBoxHead,
    proposals: PaddedInstances,
    scores: Tensor,
    deltas: Tensor,
    images: ImageBatch,
    cfg: dict,
    rescale: bool,
) -> Detections:
    """Turn a box head's outputs into the detections of each image.

    Args:
        head (BBoxHead): Whose outputs they are.
        proposals (PaddedInstances): N x P slots.
        scores (Tensor): Class scores, shape (N * P, C + 1).
        deltas (Tensor): Shape (N * P, 4 C) or (N * P, 4).
        images (ImageBatch): Sizes and scale factors.
        cfg (dict): mmdet's ``test_cfg.rcnn``, and ``min_bbox_size`` (0).
        rescale (bool): Whether to answer in original image pixels.

    Returns:
        Detections: In slots, best first.
    """
    scores = scores.float()
    # Of a sigmoid loss (focal), each class has a probability of its own.
    independent = getattr(head.loss_cls, 'use_sigmoid', False)
    probabilities = scores.sigmoid() if independent else F.softmax(scores, -1)
    # Empty slots score nothing, so no threshold lets them through.
    probabilities = probabilities.masked_fill(~proposals.mask.view(-1, 1), -1)
    probabilities = probabilities[:, :-1].unflatten(0, proposals.mask.shape)
    boxes = refine_boxes(head, proposals.boxes, deltas, images.sizes)
    smallest = cfg.get('min_bbox_size', 0)
    if smallest > 0:
        large = (boxes[..., 2:] - boxes[..., :2] >= smallest).all(-1)
        probabilities = probabilities.masked_fill(~large, -1)
    if rescale:
        boxes = boxes / images.scale_factors[:, None]
    return suppress_detections(boxes, probabilities, cfg, not independent)
