"""The detections of a test run as a file in COCO's results format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric

from mmfrcnn.evaluation.coco_results import coco_results


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
