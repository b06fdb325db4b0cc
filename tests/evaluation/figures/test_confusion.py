"""The confusion matrix against a loop over boxes, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.figures.confusion import confusion_of
from mmfrcnn.evaluation.ledger.columns import Columns
from tests.evaluation.figures.oracle import columns_of, drawn
from tests.evaluation.ledger.drawn import CLASSES, corners


def by_loops(columns: Columns, threshold: float) -> np.ndarray:
    """Count by a loop over the boxes of each image."""
    matrix = np.zeros((CLASSES + 1, CLASSES + 1), int)
    for image in range(len(columns.image_id)):
        gt = np.flatnonzero(columns.object_image == image)
        found = [
            one
            for one in np.flatnonzero(columns.detection_image == image)
            if columns.detection_score[one] >= threshold
            and columns.detection_hits[0, one] != -1
        ]
        free, left = set(gt), list(found)
        boxes = torch.from_numpy(columns.detection_box).double()
        iou = box_iou(boxes, torch.from_numpy(columns.object_box))
        for any_class in (False, True):
            for one in tuple(left):
                label = columns.detection_label[one]
                near = [
                    (float(iou[one, other]), other)
                    for other in free
                    if iou[one, other] >= 0.5
                    and (any_class or columns.object_label[other] == label)
                ]
                if near:
                    other = max(near)[1]
                    matrix[columns.object_label[other], label] += 1
                    free.remove(other)
                    left.remove(one)
        for one in left:
            matrix[CLASSES, columns.detection_label[one]] += 1
        for other in free:
            matrix[columns.object_label[other], CLASSES] += 1
    return matrix


@pytest.mark.parametrize('threshold', [0.0, 0.4])
@pytest.mark.parametrize('seed', range(3))
def test_it_is_what_loops_count(seed, threshold):
    columns = columns_of(*drawn(seed, images=12, ties=False))
    confusion = confusion_of(columns, threshold, 0.5)
    matrix = confusion.dense()
    assert matrix.tolist() == by_loops(columns, threshold).tolist()
    # Its margins are all objects and all detections, its diagonal those that are right.
    objects = np.bincount(columns.object_label, minlength=CLASSES)
    assert matrix[:CLASSES].sum(1).tolist() == objects.tolist()
    kept = columns.detection_score >= threshold
    right = kept & (columns.detection_hits[0] == 1)
    own = np.bincount(columns.detection_label[right], minlength=CLASSES)
    assert np.diag(matrix)[:CLASSES].tolist() == own.tolist()
    assert confusion.of_classes() == {
        'detected': own.tolist(),
        'missed': matrix[:CLASSES, -1].tolist(),
        'background': matrix[-1, :CLASSES].tolist(),
    }
    wrong = matrix[:CLASSES, :CLASSES] * (1 - np.eye(CLASSES, dtype=int))
    largest = confusion.largest()
    assert sum(one['count'] for one in largest) == wrong.sum()
    assert threshold or wrong.any()
    for one in largest[:1]:
        assert wrong[int(one['object']), int(one['detection'])] == wrong.max()


def test_the_own_class_is_matched_first():
    box, moved = [10, 10, 20, 20], [10, 10, 20, 19]
    truth = {
        'images': [{'id': 1}],
        'categories': [{'id': i + 1, 'name': f'{i}'} for i in range(CLASSES)],
        'annotations': [dict(id=1, image_id=1, category_id=1, bbox=box, iscrowd=0)],
    }
    other = dict(image_id=1, category_id=2, bbox=box, score=0.9)
    own = dict(image_id=1, category_id=1, bbox=moved, score=0.5)
    columns = columns_of(truth, [other, own])
    assert corners([moved]).tolist() == [[10, 10, 30, 29]]
    both = confusion_of(columns, 0.3, 0.5).dense()
    assert both[0, 0] == 1 and both[-1, 1] == 1 and both.sum() == 2
    # Without its own, the other class has it.
    alone = confusion_of(columns, 0.6, 0.5).dense()
    assert alone[0, 1] == 1 and alone.sum() == 1


def test_an_iou_that_the_ledger_has_not():
    with pytest.raises(UserError, match=r'no IoU of 0\.42.*0\.5, 0\.55'):
        confusion_of(columns_of(*drawn(0)), 0.5, 0.42)
