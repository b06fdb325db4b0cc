"""Drawn evaluations as columns, and pycocotools' figures of them."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmfrcnn.evaluation.ledger.columns import Columns
from tests.evaluation.ledger.drawn import draw, pages_of


def drawn(seed: int, images: int = 30, ties: bool = True) -> tuple[dict, list[dict]]:
    """Draw with crowds, and with scores that a float32 has."""
    truth, found = draw(seed, images, crowds=True)
    for one in found:
        score = round(one['score'] * 12) / 16 if ties else one['score']
        one['score'] = float(np.float32(score))
    return truth, found


def columns_of(truth: dict, found: list[dict]) -> Columns:
    names = [one['name'] for one in truth['categories']]
    return Columns.of(pages_of(truth, found, 0.5), names)


def cocos(truth: dict, found: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Return precision (T, R, C) and recall (T, C), -1 for classes without objects."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(found), 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval['precision'][..., 0, -1], evaluator.eval['recall'][..., 0, -1]
