"""How large the objects are in the network's input, and what anchors reach.

Shapes: G objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mmfrcnn.report.facts import Facts

REACHES = (0.3, 0.5, 0.6, 0.7)
EVALUATED, TRAINED = 'evaluated', 'in training'
BINS = 24


def anchor_recall(facts: Facts) -> dict[str, dict[str, float]]:
    """Return the share of objects with an anchor of at least some IoUs.

    Returns:
        dict: By what the objects are of, then by IoU; empty without a grid of anchors.
    """
    reached = {EVALUATED: facts.held_out.columns.object_anchor_iou}
    if facts.fed is not None and facts.fed.anchor_iou is not None:
        reached[TRAINED] = facts.fed.anchor_iou
    return {
        name: {f'{one:g}': float((iou >= one).mean()) for one in REACHES}
        for name, iou in reached.items()
        if len(iou) and not np.isnan(iou).all()
    }


def side_histogram(facts: Facts) -> dict[str, Any]:
    """Count the objects by the side of a square of their area, in pixels of the input.

    Returns:
        dict: ``edges`` of the bins, and the share of the objects in each of them, by
        what they are of; empty without objects.
    """
    sides = {EVALUATED: facts.held_out.input_sides}
    if facts.fed is not None:
        sides[TRAINED] = facts.fed.sides
    known = {name: one[one > 0] for name, one in sides.items() if (one > 0).any()}
    if not known:
        return {}
    low = min(one.min() for one in known.values())
    high = max(one.max() for one in known.values())
    edges = np.geomspace(low, max(high, low * 1.01), BINS + 1)
    edges[0], edges[-1] = low, max(high, edges[-1])  # rounding leaves nobody out
    return {
        'edges': edges.tolist(),
        'shares': {
            name: (np.histogram(one, edges)[0] / len(one)).tolist()
            for name, one in known.items()
        },
    }
