"""COCO's average precision and recall, of images that count several times or not.

A bootstrap asks for them a thousand times, so all that does not depend on how often an
image counts is prepared, and only detections that find an object are looked at: between
two of them, precision falls.

Shapes: I images, D detections, T thresholds of IoU, C classes, K detections that find
an object at one threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmfrcnn.evaluation.figures.ranking import Ranking, row_of
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.regained import RECALLS

MEANS = ('AP', 'AP50', 'AP75', 'AR')


class AveragePrecision:
    """Computes the figures of an evaluation, for weights of its images.

    Args:
        columns (Columns): The evaluation.
    """

    def __init__(self, columns: Columns) -> None:
        self.images = len(columns.image_id)
        self._ranking = Ranking.of(columns)
        self._at_each = [_Found.of(self._ranking, hits) for hits in self._ranking.hits]
        self._rows = [row_of(columns.thresholds, iou) for iou in (0.5, 0.75)]

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return average precision and recall by threshold and class.

        They are those of pycocotools (``COCOeval``, all areas, 100 detections) where
        each image is there as often as its weight says; and where an image has equal
        scores for a class, all copies of the first detection are before the second's.

        Args:
            weights (np.ndarray): Of each image in the order of ids, int64, (I,).

        Returns:
            tuple: float64, (T, C) each; NaN for classes without objects.
        """
        ranking = self._ranking
        objects = np.bincount(
            ranking.object_label,
            weights[ranking.object_image],
            len(ranking.starts) - 1,
        )
        each = weights[ranking.image]
        total = summed(each)
        found = [one.figures(each, total, objects) for one in self._at_each]
        precision, recall = (np.array(part) for part in zip(*found, strict=True))
        precision[:, objects == 0] = recall[:, objects == 0] = np.nan
        return precision, recall

    def means(self, weights: np.ndarray) -> np.ndarray:
        """Return `MEANS` over the classes with objects, (4,); NaN if there are none."""
        precision, recall = self(weights)
        known = ~np.isnan(precision[0])
        if not known.any():
            return np.full(len(MEANS), np.nan)
        precision = precision[:, known].mean(1)
        at_50, at_75 = precision[self._rows]
        return np.array([precision.mean(), at_50, at_75, recall[:, known].mean()])

    def of_classes(self) -> np.ndarray:
        """Return `MEANS` of each class, (4, C); NaN for those without objects."""
        precision, recall = self(np.ones(self.images, np.int64))
        at_50, at_75 = precision[self._rows]
        return np.array([precision.mean(0), at_50, at_75, recall.mean(0)])


@dataclass(frozen=True, eq=False)
class _Found:
    """Detections that find an object at one threshold, and what is before each.

    Attributes:
        place (np.ndarray): Among all detections, (K,).
        label (np.ndarray): Class, (K,).
        start (np.ndarray): First detection of the class, (K,).
        first (np.ndarray): First of its class among those that find one, (K,).
        passed (np.ndarray): Detections that count for nobody, (P,).
        passed_start (np.ndarray): How many of them are before the class, (K,).
        passed_place (np.ndarray): How many of them are before the detection, (K,).
    """

    place: np.ndarray
    label: np.ndarray
    start: np.ndarray
    first: np.ndarray
    passed: np.ndarray
    passed_start: np.ndarray
    passed_place: np.ndarray

    @classmethod
    def of(cls, ranking: Ranking, hits: np.ndarray) -> _Found:
        place, passed = np.flatnonzero(hits == 1), np.flatnonzero(hits == -1)
        label = ranking.label[place]
        start = ranking.starts[label]
        return cls(
            place,
            label,
            start,
            np.searchsorted(label, label),
            passed,
            np.searchsorted(passed, start),
            np.searchsorted(passed, place),
        )

    def figures(
        self, each: np.ndarray, total: np.ndarray, objects: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return average precision and recall of each class, (C,).

        Args:
            each (np.ndarray): Weights of all detections, (D,).
            total (np.ndarray): Their sums, (D + 1,).
            objects (np.ndarray): Weights of the objects of each class, (C,).
        """
        passed = summed(each[self.passed])
        counted = total[self.place + 1] - total[self.start]
        counted -= passed[self.passed_place] - passed[self.passed_start]
        right = summed(each[self.place])
        right = right[1:] - right[self.first]
        best = _best_from_here(right / np.maximum(counted, 1), self.label)
        # A class without objects in these images has no detection that finds one.
        recall = right / np.maximum(objects, 1)[self.label]
        # How many of the 101 recalls each is the first to reach.
        reached = np.searchsorted(RECALLS, recall, side='right')
        reached[1:] -= np.where(self.label[1:] == self.label[:-1], reached[:-1], 0)
        average = np.bincount(self.label, best * reached, len(objects)) / len(RECALLS)
        found = np.bincount(self.label, each[self.place], len(objects))
        return average, found / np.maximum(objects, 1)


def summed(values: np.ndarray) -> np.ndarray:
    """Return the sums of the first 0, 1, ... N of integers (N,), int64, (N + 1,)."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _best_from_here(precision: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the largest precision from each detection on, within its class, (K,)."""
    # Whole numbers keep the classes apart: precisions are between 0 and 1, and each
    # class lies one above the next.
    above = label.max(initial=0) - label
    return np.maximum.accumulate((precision + above)[::-1])[::-1] - above
