"""COCO's metric by hotcoco, a faster engine with the same figures."""

from __future__ import annotations

import importlib.util
from typing import Any
from unittest import mock

import numpy as np
from mmdet.evaluation.metrics import CocoMetric, coco_metric
from mmdet.registry import METRICS
from pycocotools.cocoeval import COCOeval

from mmfrcnn.errors import UserError


class FastEvaluator(COCOeval):
    """pycocotools' evaluator of boxes, in whose place hotcoco matches and counts.

    Ground truth, results, parameters and the summary are pycocotools' own.
    """

    def evaluate(self) -> None:
        """Do nothing: matching and counting are one step."""

    def accumulate(self, p: Any = None) -> None:
        """Set ``eval``: ``precision`` (T, R, K, A, M) and ``recall`` (T, K, A, M)."""
        import hotcoco

        params = self.params
        images = np.unique(params.imgIds).tolist()
        places = {name: place for place, name in enumerate(images, 1)}
        truth = self.cocoGt.dataset
        data = {
            'images': [{'id': place} for place in places.values()],
            'categories': truth['categories'],
            'annotations': _placed(
                truth['annotations'], places, ('id', 'area', 'iscrowd')
            ),
        }
        found = _placed(self.cocoDt.dataset['annotations'], places, ('score',))
        coco = hotcoco.COCO(data)
        engine = hotcoco.COCOeval(coco, coco.loadRes(found), params.iouType)
        engine.params.imgIds = list(places.values())
        engine.params.catIds = list(params.catIds)
        engine.params.iouThrs = np.asarray(params.iouThrs).tolist()
        engine.params.maxDets = list(params.maxDets)
        engine.evaluate()
        engine.accumulate()
        self.eval = {
            name: np.asarray(engine.eval[name]) for name in ('precision', 'recall')
        }


def _placed(
    annotations: list[dict[str, Any]], places: dict[Any, int], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return what counts of annotations, with the place of the image for its id."""
    kept = ('category_id', 'bbox', *names)
    return [
        {'image_id': places[one['image_id']], **{name: one[name] for name in kept}}
        for one in annotations
        if one['image_id'] in places
    ]


@METRICS.register_module()
class FastCocoMetric(CocoMetric):
    """mmdet's `CocoMetric` of boxes (its arguments), computed by hotcoco.

    Raises:
        UserError: If hotcoco is not installed, or other than boxes are asked for.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not importlib.util.find_spec('hotcoco'):
            raise UserError(
                'FastCocoMetric needs hotcoco: '
                'pip install "mmfrcnn[fast-eval]", or take CocoMetric'
            )
        if self.metrics != ['bbox']:
            raise UserError(
                f'FastCocoMetric is of boxes, not {self.metrics}: take CocoMetric'
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute as mmdet does, by the other evaluator."""
        with mock.patch.object(coco_metric, 'COCOeval', FastEvaluator):
            return super().compute_metrics(results)
