"""From class scores and refined boxes of all proposals to the detections of each image.

Shapes: N images, P proposal slots, C classes, K candidate slots, D detection slots.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mmfrcnn.modeling.nms_config import plain_nms_threshold
from mmfrcnn.modeling.per_image import multiclass_nms
from mmfrcnn.ops.compact import compact
from mmfrcnn.ops.nms import grouped_nms
from mmfrcnn.ops.nms.empty_slots import set_apart
from mmfrcnn.ops.rows import gather_rows
from mmfrcnn.structures.detections import Detections

# A sum of probabilities may round to more than 1.
LARGEST_SUM = 1.001


@torch.no_grad()
def select_detections(
    boxes: Tensor,
    scores: Tensor,
    *,
    score_thr: float,
    iou_threshold: float,
    max_per_img: int,
    class_agnostic: bool = False,
    exclusive: bool = False,
) -> Detections:
    """Threshold, suppress within each (image, class), keep the best of each image.

    Args:
        boxes (Tensor): A box for each class, xyxy, float32, shape (N, P, C, 4), or one
            for all, (N, P, 1, 4).
        scores (Tensor): Probabilities, float32, shape (N, P, C); below the threshold in
            empty slots.
        score_thr (float): Candidates score more than this.
        iou_threshold (float): NMS above this IoU.
        max_per_img (int): Detections an image; not positive: all.
        class_agnostic (bool): Whether classes suppress each other.
        exclusive (bool): Whether the scores of a proposal sum to 1 at most, as a
            softmax's do: then fewer slots hold all candidates.

    Returns:
        Detections: Best first, equals in the order of proposals, then classes. D is the
        smaller of ``max_per_img`` and K.
    """
    images, proposals, classes = scores.shape
    above = (scores > score_thr) & torch.isfinite(boxes).all(-1)
    passing = _most_above(score_thr, classes) if exclusive else classes
    index, filled = compact(above.flatten(1), proposals * passing)  # (N, K)
    scores = scores.flatten(1).gather(1, index)
    labels = index % classes
    row = index if boxes.shape[2] == classes else index // classes
    boxes = gather_rows(boxes.flatten(1, 2), row)  # (N, K, 4)

    image = torch.arange(images, device=labels.device)[:, None]
    room = max(proposals, 1)  # boxes of a class
    if class_agnostic:
        own, count, most = image.expand_as(labels), images, index.shape[1]
    else:
        own, count, most = image * classes + labels, images * classes, room
    groups, boxes, others = set_apart(own, count, boxes, filled, room)
    keep = grouped_nms(
        boxes.flatten(0, 1),
        scores.flatten(),
        groups.flatten(),
        iou_threshold,
        largest_group=most,
        num_groups=count + others,
    )
    keep = keep.view_as(filled) & filled
    ranked = scores.masked_fill(~keep, -math.inf)
    order = ranked.argsort(dim=1, descending=True, stable=True)
    if max_per_img > 0:
        order = order[:, :max_per_img]
    mask = keep.gather(1, order)  # (N, D)
    return Detections(
        gather_rows(boxes, order).masked_fill_(~mask[..., None], 0),
        scores.gather(1, order).masked_fill_(~mask, 0),
        labels.gather(1, order).masked_fill_(~mask, 0),
        mask,
    )


def _most_above(score_thr: float, classes: int) -> int:
    """How many scores of a softmax can exceed a threshold."""
    if score_thr <= 0:
        return classes
    return min(classes, int(LARGEST_SUM / score_thr))


def suppress_detections(
    boxes: Tensor, scores: Tensor, cfg: dict[str, Any], exclusive: bool = False
) -> Detections:
    """Suppress as mmdet's ``test_cfg.rcnn`` says.

    Plain NMS is :func:`select_detections`; of any other kind it is mmdet's own, image
    by image. Arguments and result are :func:`select_detections`'s.
    """
    threshold = plain_nms_threshold(cfg['nms'])
    if threshold is not None:
        return select_detections(
            boxes,
            scores,
            score_thr=cfg['score_thr'],
            iou_threshold=threshold,
            max_per_img=cfg['max_per_img'],
            class_agnostic=cfg['nms'].get('class_agnostic', False),
            exclusive=exclusive,
        )
    return multiclass_nms(boxes, scores, cfg)
