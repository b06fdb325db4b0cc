"""Precision, recall and F1 over the score from which on detections are kept.

Shapes: D detections, K different scores, best first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmfrcnn.evaluation.figures.ranking import Ranking

POINTS = 200
"""Points of a curve that is drawn."""


@dataclass(frozen=True, eq=False)
class Curve:
    """What keeping the detections of at least a score comes to.

    Detections that count for nobody (they are on crowds) are neither right nor wrong.

    Attributes:
        threshold (np.ndarray): The different scores, best first, float64, (K,).
        precision (np.ndarray): Share of the detections that find an object, (K,).
        recall (np.ndarray): Share of the objects found, 0 without objects, (K,).
        f1 (np.ndarray): Their harmonic mean, (K,).
    """

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, hits: np.ndarray, objects: int) -> Curve:
        """Count what each threshold keeps.

        Args:
            scores (np.ndarray): Of detections in any order, (D,).
            hits (np.ndarray): Whether each finds an object: 1, 0, or -1 for one that
                counts for nobody, (D,).
            objects (int): How many there are.
        """
        scores, hits = scores[hits >= 0].astype(np.float64), hits[hits >= 0]
        order = np.argsort(-scores, kind='stable')
        scores, right = scores[order], np.cumsum(hits[order], dtype=np.int64)
        # A threshold keeps all that have the same score.
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])
        right, kept = right[last], last + 1
        return cls(
            scores[last],
            right / kept,
            right / max(objects, 1),
            2 * right / (kept + objects),
        )

    def best(self) -> dict[str, float | None]:
        """Return the point of the best F1, of equals that of the highest threshold.

        Returns:
            dict: ``threshold``, ``precision``, ``recall``, ``F1``. Where no detection
            finds an object there is no threshold, and no precision.
        """
        if not self.f1.any():
            return {'threshold': None, 'precision': None, 'recall': 0.0, 'F1': 0.0}
        place = self.f1.argmax()
        return {name: float(values[place]) for name, values in self._named().items()}

    def drawn(self) -> dict[str, list[float]]:
        """Return at most `POINTS` points, half evenly by score and half by recall.

        Returns:
            dict: ``threshold``, ``precision``, ``recall`` and ``F1``, as long each, the
            thresholds falling.
        """
        places = np.arange(len(self.threshold))
        if len(places) > POINTS:
            places = np.union1d(
                _evenly(-self.threshold, POINTS // 2), _evenly(self.recall, POINTS // 2)
            )
        return {name: values[places].tolist() for name, values in self._named().items()}

    def _named(self) -> dict[str, np.ndarray]:
        return {
            'threshold': self.threshold,
            'precision': self.precision,
            'recall': self.recall,
            'F1': self.f1,
        }


def _evenly(rising: np.ndarray, number: int) -> np.ndarray:
    """Return places of values that rise from first to last in equal steps."""
    steps = np.linspace(rising[0], rising[-1], number)
    return np.searchsorted(rising, steps).clip(max=len(rising) - 1)


def curves_of(ranking: Ranking, row: int, objects: np.ndarray) -> list[Curve]:
    """Return the curve of each class.

    Args:
        ranking (Ranking): The detections.
        row (int): Which of the thresholds of IoU.
        objects (np.ndarray): How many each class has, (C,).
    """
    bounds = ranking.starts.tolist()
    return [
        Curve.of(ranking.score[start:end], ranking.hits[row, start:end], int(number))
        for start, end, number in zip(bounds, bounds[1:], objects, strict=False)
    ]
