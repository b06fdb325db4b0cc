"""Drawn objects and detections, with every kind of mistake among them."""

from __future__ import annotations

import random

import numpy as np

from mmfrcnn.evaluation.ledger.mistakes import NAMES, judge
from mmfrcnn.evaluation.ledger.page import Page
from mmfrcnn.evaluation.ledger.truth import Truth
from tests.evaluation.ledger.nearest import nearest_to

CLASSES = 3


def draw(seed: int, images: int = 30, crowds: bool = False) -> tuple[dict, list[dict]]:
    """Return COCO ground truth and results: whole pixels, no equal scores."""
    rng = random.Random(seed)
    gt, found = [], []
    for image in range(1, images + 1):
        for _ in range(rng.randrange(0, 7)):
            x, y, w, h = (rng.randrange(0, 150) for _ in range(4))
            box, label = [x, y, w + 10, h + 10], rng.randrange(CLASSES)
            crowd = int(crowds and rng.random() < 0.2)
            gt.append((image, label, box, crowd))
            for _ in range(rng.randrange(0, 4)):
                moved = [side + rng.randrange(-9, 10) for side in box]
                moved[2:] = [max(side, 1) for side in moved[2:]]
                called = label if rng.random() < 0.7 else rng.randrange(CLASSES)
                found.append((image, called, moved, rng.random()))
        for _ in range(rng.randrange(0, 3)):
            box = [rng.randrange(1, 150) for _ in range(4)]
            label = rng.randrange(CLASSES)
            found.append((image, label, box, rng.random()))
    truth = {
        'images': [
            {'id': i, 'width': 400, 'height': 400} for i in range(1, images + 1)
        ],
        'categories': [{'id': i + 1, 'name': f'{i}'} for i in range(CLASSES)],
        'annotations': [
            {
                **dict(id=number, image_id=image, category_id=label + 1, bbox=box),
                **dict(iscrowd=crowd, area=box[2] * box[3]),
            }
            for number, (image, label, box, crowd) in enumerate(gt, start=1)
        ],
    }
    return truth, [
        dict(image_id=image, category_id=label + 1, bbox=box, score=score)
        for image, label, box, score in found
    ]


def corners(boxes: list) -> np.ndarray:
    boxes = np.array(boxes, float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def pages_of(truth: dict, found: list[dict], iou: float, most: int = 100) -> list[Page]:
    """Account for the detections alone, as nothing is known of the detector."""
    labels = {one['id']: place for place, one in enumerate(truth['categories'])}
    pages = []
    for image in truth['images']:
        own = [one for one in truth['annotations'] if one['image_id'] == image['id']]
        ds = [one for one in found if one['image_id'] == image['id']]
        ds = sorted(ds, key=lambda one: -one['score'])[:most]
        gt = corners([one['bbox'] for one in own])
        gt_labels = np.array([labels[one['category_id']] for one in own], np.int64)
        ignored = np.array([one['iscrowd'] for one in own], bool)
        boxes = corners([one['bbox'] for one in ds])
        called = np.array([labels[one['category_id']] for one in ds], np.int64)
        own_truth = Truth(gt, gt_labels, ignored, '')
        kinds, about, hits = judge(boxes, called, own_truth, iou)
        lost = np.ones((~ignored).sum(), bool)
        lost[about[kinds == NAMES.index('true')]] = False
        pages.append(
            Page(
                image['id'],
                '',
                gt[~ignored],
                gt_labels[~ignored],
                {},
                ['called_background' if one else 'detected' for one in lost],
                nearest_to(gt[~ignored], boxes),
                np.zeros((10, len(lost))),
                boxes,
                np.array([one['score'] for one in ds], float),
                called,
                kinds,
                about,
                hits,
                (1000, 1000),
                (1.0, 1.0),
            )
        )
    return pages
