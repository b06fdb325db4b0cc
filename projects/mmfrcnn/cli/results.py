"""Detections in COCO's results format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric


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
                    found['bboxes'].tolist(),
                    found['scores'].tolist(),
                    found['labels'].tolist(),
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
    boxes: list[list[float]],
    scores: list[float],
    labels: list[int],
    category_ids: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Return the detections of an image in COCO's results format.

    Args:
        image_id (int): Id of the image.
        boxes (list[list[float]]): xyxy in image pixels.
        scores (list[float]): One a box.
        labels (list[int]): Index of the class, one a box.
        category_ids (Sequence[int] | None): Category of each label; None: label + 1.

    Returns:
        list[dict]: ``image_id``, ``category_id``, ``bbox`` as (x, y, width, height) and
        ``score`` of each detection.

    Example:
        >>> coco_results(7, [[1, 2, 4, 6]], [0.5], [0])
        [{'image_id': 7, 'category_id': 1, 'bbox': [1, 2, 3, 4], 'score': 0.5}]
    """
    return [
        {
            'image_id': image_id,
            'category_id': category_ids[label] if category_ids else label + 1,
            'bbox': [x1, y1, x2 - x1, y2 - y1],
            'score': score,
        }
        for (x1, y1, x2, y2), score, label in zip(boxes, scores, labels, strict=True)
    ]
