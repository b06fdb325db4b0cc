"""The ledger in a sentence or two."""

from __future__ import annotations

import numpy as np

from mmfrcnn.evaluation.ledger.fates import NOT_PROPOSED
from mmfrcnn.report.facts import Split

CAUSES = {
    # What is said of objects of these fates.
    'have no anchor that reaches them': ('no_anchor',),
    'have no proposal': NOT_PROPOSED,
    'are called background': ('called_background',),
    'are called another class': ('called_other_class',),
    'score too low': ('below_score_threshold', 'beyond_detection_limit'),
    'are in a poor box': ('badly_regressed',),
    'are suppressed by the last NMS': ('suppressed_by_nms', 'shared_box'),
}


def in_words(split: Split) -> str:
    """Say how many objects are missed, most of them why, and which."""
    fates = split.fates
    missed = fates != 'detected'
    if not missed.any():
        return f'All {len(fates)} objects are detected.'
    shares = {
        says: np.isin(fates[missed], of_cause).mean()
        for says, of_cause in CAUSES.items()
    }
    parts = [
        f'{share:.0%} {says}'
        for says, share in sorted(shares.items(), key=lambda item: -item[1])[:2]
        if share
    ]
    sides = split.input_sides
    return (
        f'{missed.sum()} of {len(fates)} objects are missed: of these '
        f'{" and ".join(parts)}. They are {np.median(sides[missed]):.0f} px large in '
        f"the network's input (median), the others {_median(sides[~missed])}."
    )


def _median(sides: np.ndarray) -> str:
    return f'{np.median(sides):.0f} px' if len(sides) else 'none'
