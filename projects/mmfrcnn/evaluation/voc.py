"""Pascal VOC's mean average precision.

For each class, detections of all images are ranked by score. One that overlaps an
object by IoU 0.5 or more is true, the first time; another on the same object is false;
one on a difficult object counts neither way. Sides count whole pixels, the last one
included (``xmax - xmin + 1``), as the VOC development kit does. Matching is mmdet's own
(`tpfp_default`); ranking and averaging are here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.evaluation import VOCMetric
from mmdet.evaluation.functional.mean_ap import (
    get_cls_results,
    print_map_summary,
    tpfp_default,
)
from mmdet.registry import METRICS
from mmengine.logging import MMLogger, print_log


@METRICS.register_module()
class PascalVocMetric(VOCMetric):
    """VOC's mAP, as mmdet's `VOCMetric` takes its input, with exact averaging.

    mmdet compares recall with 0.1, 0.2, ... in floating point, where three of ten found
    is less than 0.1 * 3: on small test sets its 11-point mAP comes out up to several
    points too low. It also starts processes for each evaluation.

    Args:
        eval_mode (str): ``11points`` (VOC2007) or ``area`` (VOC2010 and later).
        iou_thrs (float | Sequence[float]): IoU from which on a detection is true; mAP
            is the mean over several.
        collect_device (str): Where processes collect results, ``cpu`` or ``gpu``.
        prefix (str | None): Of the names of the metrics; ``pascal_voc`` by default.
    """

    def __init__(
        self,
        eval_mode: str = '11points',
        iou_thrs: float | Sequence[float] = 0.5,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        several = [iou_thrs] if isinstance(iou_thrs, int | float) else list(iou_thrs)
        super().__init__(
            eval_mode=eval_mode,
            iou_thrs=several,
            collect_device=collect_device,
            prefix=prefix,
        )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return ``mAP`` and ``AP50`` (or the like, each threshold); log a table.

        Args:
            results (list): (ground truth, detections by class) of each image.
        """
        gts, detections = zip(*results, strict=True)
        logger: MMLogger = MMLogger.get_current_instance()
        names = self.dataset_meta['classes']
        means = {}
        for threshold in self.iou_thrs:
            classes = [
                self._evaluate_class(detections, gts, label, threshold)
                for label in range(len(names))
            ]
            known = [found['ap'] for found in classes if found['num_gts']]
            mean = float(np.mean(known)) if known else 0.0
            title = f'\nPascal VOC, {self.eval_mode}, IoU {threshold:g}'
            print_log(title, logger)  # as the table is
            print_map_summary(mean, classes, names, logger=logger)
            means[f'AP{round(threshold * 100):02d}'] = mean
        return {'mAP': float(np.mean(list(means.values()))), **means}

    def _evaluate_class(
        self, detections: Sequence, gts: Sequence, label: int, threshold: float
    ) -> dict[str, Any]:
        """Return what mmdet's table shows of one class."""
        found, objects, difficult = get_cls_results(detections, gts, label)
        marks = [
            tpfp_default(*image, threshold, use_legacy_coordinate=True)
            for image in zip(found, objects, difficult, strict=True)
        ]
        scores = np.concatenate([image[:, -1] for image in found])
        ranking = np.argsort(-scores, kind='stable')
        true = np.concatenate([image[0] for image, _ in marks])[ranking]
        false = np.concatenate([image[0] for _, image in marks])[ranking]
        true, false = (np.cumsum(part, dtype=np.int64) for part in (true, false))
        count = sum(map(len, objects))
        precision = true / np.maximum(true + false, 1)
        averaged = eleven_points if self.eval_mode == '11points' else area
        return {
            'num_gts': count,
            'num_dets': len(scores),
            'recall': true / max(count, 1),
            'precision': precision,
            'ap': averaged(true, precision, count),
        }


def eleven_points(true: np.ndarray, precision: np.ndarray, count: int) -> float:
    """Mean of the best precision at recall 0, 0.1, ... 1 or more.

    Args:
        true (np.ndarray): Right detections among the first k, integers, (K,).
        precision (np.ndarray): Precision of the first k, (K,).
        count (int): Objects that are not difficult.

    Example:
        >>> eleven_points(np.array([1, 2, 3]), np.ones(3), 10)  # at 0, 0.1, 0.2, 0.3
        0.36363636363636365
    """
    best = [
        # In integers: 3 / 10 is less than 0.1 * 3 in floating point.
        precision[true * 10 >= point * count].max(initial=0.0)
        for point in range(11)
    ]
    return float(np.mean(best))


def area(true: np.ndarray, precision: np.ndarray, count: int) -> float:
    """Area under the curve of precision made to fall; arguments of `eleven_points`."""
    if not len(true):
        return 0.0
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    gained = np.diff(true, prepend=0)
    return float((gained * falling).sum() / max(count, 1))
