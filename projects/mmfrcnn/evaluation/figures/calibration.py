"""Whether a score of .8 means that eight of ten detections are right.

Shapes: D detections.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 20


def calibration_of(scores: np.ndarray, hits: np.ndarray) -> dict[str, Any]:
    """Compare scores with the share of detections that find an object.

    The error is the detection expected calibration error of Kueppers et al.
    (Multivariate Confidence Calibration for Object Detection, 2020), by score alone:
    the mean over the detections of the difference of score and precision of their bin.

    Args:
        scores (np.ndarray): From 0 to 1, (D,).
        hits (np.ndarray): Whether each finds an object: 1, 0, or -1 for one that counts
            for nobody and is left out, (D,).

    Returns:
        dict: ``bins``, equally wide: ``low``, ``high``, ``detections``, and their mean
        ``score`` and ``precision``, None in an empty one; ``error``, None without
        detections.
    """
    scores, hits = scores[hits >= 0].astype(np.float64), hits[hits >= 0]
    places = bin_of(scores, BINS)
    counts = np.bincount(places, minlength=BINS)
    score = np.bincount(places, scores, BINS) / np.maximum(counts, 1)
    precision = np.bincount(places, hits, BINS) / np.maximum(counts, 1)
    error = (counts * abs(score - precision)).sum() / max(len(scores), 1)
    return {
        'bins': [
            {
                'low': place / BINS,
                'high': (place + 1) / BINS,
                'detections': int(counts[place]),
                'score': float(score[place]) if counts[place] else None,
                'precision': float(precision[place]) if counts[place] else None,
            }
            for place in range(BINS)
        ],
        'error': float(error) if len(scores) else None,
    }


def bin_of(scores: np.ndarray, bins: int) -> np.ndarray:
    """Return the place of each score among equal parts of 0 to 1, int64, (D,).

    Example:
        >>> bin_of(np.array([0.0, 0.49, 0.5, 1.0]), 2).tolist()
        [0, 0, 1, 1]
    """
    return (scores * bins).astype(np.int64).clip(0, bins - 1)
