"""From class scores and refined boxes of all proposals to the detections of each image.

Shapes: N images, P proposal slots, C classes, M candidates over the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.layers import multiclass_nms
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.modeling.nms_config import plain_nms_threshold
from mmfrcnn.ops.nms import grouped_nms


@torch.no_grad()
def select_detections(
    boxes: Tensor,
    scores: Tensor,
    *,
    score_thr: float,
    iou_threshold: float,
    max_per_img: int,
    class_agnostic: bool = False,
) -> list[InstanceData]:
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

    Returns:
        list[InstanceData]: ``bboxes`` (D, 4), ``scores`` (D,), ``labels`` (D,) of each
        image, best first.
    """
    images, _, classes = scores.shape
    above = (scores > score_thr) & torch.isfinite(boxes).all(-1)
    image, proposal, label = above.nonzero(as_tuple=True)  # each (M,)
    boxes = boxes.expand(-1, -1, classes, -1)[image, proposal, label]  # (M, 4)
    scores = scores[image, proposal, label]
    groups = image if class_agnostic else image * classes + label
    keep = grouped_nms(boxes, scores, groups, iou_threshold)

    # Image by image, the kept before the suppressed, the better before the worse.
    order = scores.masked_fill(~keep, -1).argsort(descending=True, stable=True)
    order = order[image[order].argsort(stable=True)]
    per_image = torch.zeros(2, images, dtype=torch.int64, device=scores.device)
    per_image.index_add_(1, image, torch.stack([torch.ones_like(image), keep.long()]))
    boxes, scores, label = boxes[order], scores[order], label[order]

    results = []
    candidates, kept = per_image.tolist()  # the one wait for the device of the packing
    start = 0
    for count, survivors in zip(candidates, kept, strict=True):
        stop = min(survivors, max_per_img) if max_per_img > 0 else survivors
        chosen = slice(start, start + stop)
        results.append(
            InstanceData(
                bboxes=boxes[chosen], scores=scores[chosen], labels=label[chosen]
            )
        )
        start += count
    return results


def suppress_detections(
    boxes: Tensor, scores: Tensor, cfg: dict[str, Any]
) -> list[InstanceData]:
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
        )
    results = []
    for image_boxes, image_scores in zip(boxes, scores, strict=True):
        detections, labels = multiclass_nms(
            image_boxes.flatten(1),
            F.pad(image_scores, (0, 1)),  # the background column it expects
            cfg['score_thr'],
            cfg['nms'],
            cfg['max_per_img'],
        )
        results.append(
            InstanceData(
                bboxes=detections[:, :4], scores=detections[:, 4], labels=labels
            )
        )
    return results
