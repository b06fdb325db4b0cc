"""The way from the objects to the detections, and what is lost on it."""

from __future__ import annotations

import numpy as np

from mmfrcnn.evaluation.ledger.groups import SIZES
from mmfrcnn.evaluation.ledger.regained import STEPS
from mmfrcnn.report.facts import Split

LEFT = {
    # What the objects are that a step of the ledger has not lost.
    'anchors': 'reached by an anchor',
    'proposals': 'proposed',
    'class': 'called by their class',
    'box': 'in a box that reaches them',
    'NMS': 'kept by the NMS',
    'detection limit': 'detected',
}


def flow(split: Split) -> list[dict[str, object]]:
    """Return what is left of the objects after each step.

    Returns:
        list: ``step``, ``left``, and ``lost``: the count of each fate that is not 0.
    """
    objects = split.summary['objects']
    left = objects['total']
    rows = []
    for step, fates in STEPS.items():
        lost = {fate: objects[fate] for fate in fates if objects[fate]}
        left -= sum(lost.values())
        rows.append({'step': LEFT[step], 'left': left, 'lost': lost})
    return rows


def counts(split: Split) -> list[list[int]]:
    """Count the objects of each class, size and fate that occur together.

    Returns:
        list: Place of the class, of the size in `sizes`, of the fate in `FATES`, and
        how many.
    """
    columns = split.columns
    place = {name: number for number, name in enumerate(sizes(split))}
    size = np.array([place[one] for one in columns.object_size.tolist()], np.int64)
    rows = np.column_stack([columns.object_label, size, columns.object_fate])
    unique, number = np.unique(rows, axis=0, return_counts=True)
    return np.column_stack([unique, number]).tolist()


def sizes(split: Split) -> list[str]:
    """Return the groups by size that there are."""
    return sorted(set(split.columns.object_size.tolist()), key=SIZES.index)
