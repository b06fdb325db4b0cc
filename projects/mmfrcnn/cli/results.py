"""Detections in COCO's results format, masks as its run lengths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.structures.mask import encode_mask_results
from mmengine.evaluator import BaseMetric
from torch import Tensor


class CocoResults(BaseMetric):
    """Writes the detections of a test run as a COCO results list.

    Args:
        path (str): JSON file to write.
        dataset (Any): The test set; its ``cat_ids`` are the category ids, or, where it
            has none, the label plus one.
    """

    def __init__(self, path: str, dataset: Any) -> None:
        super().__init__(collect_device='cpu', prefix='out')
        self.path = Path(path)
        self.category_ids = getattr(dataset, 'cat_ids', None)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the detections of a batch."""
        for sample in data_samples:
            found = sample['pred_instances']
            self.results.append(
                coco_results(
                    sample['img_id'],
                    found['bboxes'],
                    found['scores'],
                    found['labels'],
                    found.get('masks'),
                    self.category_ids,
                )
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Write the file (in the main process); the one figure is its length."""
        detections = [detection for image in results for detection in image]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(detections))
        return {'detections': len(detections)}


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
