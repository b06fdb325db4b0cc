"""Detections in COCO's results format, masks as its run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.structures.mask import encode_mask_results
from torch import Tensor


def coco_results(
    image_id: int,
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    masks: Tensor | None = None,
    category_ids: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Return the detections of an image in COCO's results format.

    Args:
        image_id (int): Id of the image.
        boxes (Tensor): xyxy in image pixels, shape (D, 4).
        scores (Tensor): Shape (D,).
        labels (Tensor): Index of the class, shape (D,).
        masks (Tensor | None): bool, shape (D, H, W).
        category_ids (Sequence[int] | None): Category of each label; None: label + 1.

    Returns:
        list[dict]: ``image_id``, ``category_id``, ``bbox`` as (x, y, width, height),
        ``score`` and, with masks, ``segmentation`` of each detection.

    Example:
        >>> import torch
        >>> box = torch.tensor([[1., 2., 4., 6.]])
        >>> coco_results(7, box, torch.tensor([0.5]), torch.tensor([0]))
        [{'image_id': 7, 'category_id': 1, 'bbox': [1.0, 2.0, 3.0, 4.0], 'score': 0.5}]
    """
    detections = [
        {
            'image_id': image_id,
            'category_id': category_ids[label] if category_ids else label + 1,
            'bbox': [x1, y1, x2 - x1, y2 - y1],
            'score': score,
        }
        for (x1, y1, x2, y2), score, label in zip(
            boxes.tolist(), scores.tolist(), labels.tolist(), strict=True
        )
    ]
    if masks is not None:
        runs = encode_mask_results(masks.cpu().numpy())
        for detection, mask in zip(detections, runs, strict=True):
            mask['counts'] = mask['counts'].decode()
            detection['segmentation'] = mask
    return detections
