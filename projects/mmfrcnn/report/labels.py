"""What the detections say of the labels: other classes, no labels, boxes beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mmfrcnn.evaluation.ledger.matching import NOBODY
from mmfrcnn.report.facts import Split, sides_of

FEW = 5
"""Objects that a share needs."""
EXCHANGED = 0.18
"""Share of two classes that is called the other, each way."""


def confusions(split: Split) -> tuple[dict[tuple[int, int], int], np.ndarray]:
    """Count what objects are called by the best detection that reaches them.

    Args:
        split (Split): An evaluation.

    Returns:
        tuple: How many objects of a class (first) are called another (second), where
        there are any; and the objects of each class that are called anything, (C,).
    """
    columns = split.columns
    objects, rows = _best_about(split, ('true', 'wrong_class'))
    own, called = columns.object_label[objects], columns.detection_label[rows]
    pairs = Counter(zip(own.tolist(), called.tolist(), strict=True))
    counts = np.bincount(own, minlength=len(columns.classes))
    return {k: n for k, n in pairs.items() if k[0] != k[1]}, counts


def exchanges(
    pairs: Mapping[tuple[int, int], int], counts: np.ndarray
) -> dict[tuple[int, int], float]:
    """Return the pairs of classes that look exchanged, and how much of both is.

    Args:
        pairs (Mapping): Of :func:`confusions`.
        counts (np.ndarray): Of the same, (C,).
    """
    both = {
        (a, b): min(number / counts[a], pairs.get((b, a), 0) / counts[b])
        for (a, b), number in pairs.items()
        if a < b and min(counts[a], counts[b]) >= FEW
    }
    return {pair: float(share) for pair, share in both.items() if share > EXCHANGED}


def unlabelled(split: Split) -> tuple[float, int]:
    """Return the share and the number of sure detections on the background."""
    scores, kinds = split.columns.detection_score, split.kinds
    if not (kinds == 'true').any():
        return 0.0, 0
    sure = scores >= np.median(scores[kinds == 'true'])
    nothing = int((sure & (kinds == 'background')).sum())
    return nothing / max(int(sure.sum()), 1), nothing


def box_offsets(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the best detection of each object lies from it.

    Args:
        split (Split): An evaluation.

    Returns:
        tuple: Of centres, (x, y) in pixels of the image, (K, 2), and the side of a
        square of each object's area, (K,).
    """
    columns = split.columns
    objects, rows = _best_about(split, ('true', 'poor_box'))
    found, own = columns.detection_box[rows], columns.object_box[objects]
    offsets = (found[:, :2] + found[:, 2:] - own[:, :2] - own[:, 2:]) / 2
    return offsets, sides_of(own)


def _best_about(split: Split, kinds: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return objects, and the best detection of some kinds that each has, (K,) both."""
    columns = split.columns
    about = np.isin(split.kinds, kinds) & (columns.detection_object != NOBODY)
    rows = np.flatnonzero(about)
    rows = rows[np.argsort(-columns.detection_score[rows], kind='stable')]
    objects, first = np.unique(columns.detection_object[rows], return_index=True)
    return objects, rows[first]
