"""How the scores of right detections and of each kind of false ones are spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmfrcnn.evaluation.figures.calibration import bin_of
from mmfrcnn.evaluation.ledger.columns import Columns

BINS = 50


def scores_of(columns: Columns) -> dict[str, Any]:
    """Count the detections of each kind by score.

    The kinds are those of the ledger, at its IoU.

    Returns:
        dict: ``edges`` of equal bins from 0 to 1, and ``detections``: of each kind, by
        its name, the count in each bin.
    """
    kinds = len(columns.kinds)
    places = columns.detection_kind * BINS + bin_of(columns.detection_score, BINS)
    counts = np.bincount(places, minlength=kinds * BINS).reshape(kinds, BINS)
    names = columns.kinds.tolist()
    return {
        'edges': [edge / BINS for edge in range(BINS + 1)],
        'detections': dict(zip(names, counts.tolist(), strict=True)),
    }
