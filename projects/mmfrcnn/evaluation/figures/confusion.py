"""Which class the objects are taken for: the confusion matrix.

Of an image, the detections above the threshold find the objects of their own class
first, by COCO's rule, so that the diagonal is what precision and recall count at that
threshold. What is left then takes, best score first, the free object that it overlaps
most, whatever its class. That classes are matched first is also the rule of supervision
(``ConfusionMatrix``, which goes by IoU, not by score); Ultralytics looks at IoU alone.

Shapes: I images, D detections, G objects, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmfrcnn.evaluation.figures.ranking import row_of
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.matching import NOBODY, match, overlaps

MOST_CLASSES = 100
"""The matrix of more classes is not written out."""
MOST_CELLS = 50
"""Confusions that are listed, the most frequent first."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """The cells of the matrix that are not 0; C is the background.

    Attributes:
        objects (np.ndarray): Class of the objects, C: there is none, int64, (N,).
        detections (np.ndarray): Class they are taken for, C: missed, int64, (N,).
        counts (np.ndarray): int64, (N,).
        classes (list[str]): Names, (C,).
    """

    objects: np.ndarray
    detections: np.ndarray
    counts: np.ndarray
    classes: list[str]

    def dense(self) -> np.ndarray:
        """Return the matrix: objects by detections, int64, (C + 1, C + 1)."""
        matrix = np.zeros((len(self.classes) + 1,) * 2, np.int64)
        matrix[self.objects, self.detections] = self.counts
        return matrix

    def of_classes(self) -> dict[str, list[int]]:
        """Return the cells that every class has.

        Returns:
            dict: ``detected`` (objects with their class), ``missed`` (without any
            detection) and ``background`` (detections without any object), (C,) each.
        """
        background = len(self.classes)
        cells = {
            'detected': (self.objects, self.objects == self.detections),
            'missed': (self.objects, self.detections == background),
            'background': (self.detections, self.objects == background),
        }
        return {
            name: np.bincount(labels[chosen], self.counts[chosen], len(self.classes))
            .astype(np.int64)
            .tolist()
            for name, (labels, chosen) in cells.items()
        }

    def largest(self) -> list[dict[str, Any]]:
        """Return the most frequent confusions of two classes.

        Returns:
            list: ``object``, ``detection`` (names) and ``count``, at most `MOST_CELLS`.
        """
        background = len(self.classes)
        wrong = np.flatnonzero(
            (self.objects != self.detections)
            & (self.objects != background)
            & (self.detections != background)
        )
        most = wrong[np.argsort(-self.counts[wrong], kind='stable')][:MOST_CELLS]
        return [
            {
                'object': self.classes[self.objects[cell]],
                'detection': self.classes[self.detections[cell]],
                'count': int(self.counts[cell]),
            }
            for cell in most
        ]


def confusion_of(columns: Columns, threshold: float, iou: float) -> Confusion:
    """Count which classes objects are taken for.

    Detections that count for nobody (they are on crowds) are left out.

    Args:
        columns (Columns): The evaluation.
        threshold (float): Detections of at least this score are kept.
        iou (float): From which on a detection finds an object; one of the thresholds.
    """
    hits = columns.detection_hits[row_of(columns.thresholds, iou)]
    kept = np.flatnonzero((columns.detection_score >= threshold) & (hits >= 0))
    labels = columns.detection_label[kept]
    found = _found(columns, kept, iou)
    background = len(columns.classes)
    missed = np.ones(len(columns.object_label), bool)
    missed[found[found != NOBODY]] = False
    missed_labels = columns.object_label[missed]
    rows = np.where(
        found == NOBODY, background, np.append(columns.object_label, 0)[found]
    )
    cells = np.concatenate([rows, missed_labels]) * (background + 1)
    cells += np.concatenate([labels, np.full(len(missed_labels), background)])
    cells, counts = np.unique(cells, return_counts=True)
    return Confusion(
        *np.divmod(cells, background + 1), counts, columns.classes.tolist()
    )


def _found(columns: Columns, kept: np.ndarray, iou: float) -> np.ndarray:
    """Return the object that each of the kept detections finds, or `NOBODY`, (K,)."""
    images = np.arange(len(columns.image_id) + 1)
    detections = np.searchsorted(columns.detection_image[kept], images)
    objects = np.searchsorted(columns.object_image, images)
    found = np.full(len(kept), NOBODY)
    for image in np.flatnonzero((np.diff(detections) > 0) & (np.diff(objects) > 0)):
        own = slice(*detections[image : image + 2])
        truth = slice(*objects[image : image + 2])
        pairs = paired(
            columns.detection_box[kept[own]],
            columns.detection_label[kept[own]],
            columns.object_box[truth],
            columns.object_label[truth],
            iou,
        )
        found[own] = np.where(pairs == NOBODY, NOBODY, pairs + truth.start)
    return found


def paired(
    boxes: np.ndarray,
    labels: np.ndarray,
    gt_boxes: np.ndarray,
    gt_labels: np.ndarray,
    iou: float,
) -> np.ndarray:
    """Pair the detections of an image with objects, those of their own class first.

    Args:
        boxes (np.ndarray): xyxy in pixels of the image, best first, (D, 4).
        labels (np.ndarray): Their classes, (D,).
        gt_boxes (np.ndarray): Likewise of the objects, (G, 4).
        gt_labels (np.ndarray): Their classes, (G,).
        iou (float): From which on a detection finds an object.

    Returns:
        np.ndarray: Object of each detection, or `NOBODY`, int64, (D,).
    """
    ignored = np.zeros(len(gt_labels), bool)
    shared = overlaps(boxes, gt_boxes, ignored)
    found = match(shared, labels, gt_labels, ignored, [iou])[0]
    left = np.flatnonzero(found == NOBODY)
    free = np.setdiff1d(np.arange(len(gt_labels)), found)
    if len(left) and len(free):
        any_class = np.zeros_like(labels[left]), np.zeros_like(gt_labels[free])
        shared = shared[np.ix_(left, free)]
        others = match(shared, *any_class, ignored[free], [iou])[0]
        found[left] = np.append(free, NOBODY)[others]
    return found
