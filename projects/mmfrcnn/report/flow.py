"""The way from the objects to the detections, and what is lost on it."""

from __future__ import annotations

import numpy as np

from mmfrcnn.evaluation.ledger.fates import FATES, NOT_PROPOSED
from mmfrcnn.report.facts import Split

STEPS = (
    # What is left after a step, and the fates of those that it loses.
    ('reached by an anchor', ('no_anchor',)),
    ('proposed', NOT_PROPOSED),
    (
        'called by their class',
        ('called_background', 'called_other_class', 'below_score_threshold'),
    ),
    ('in a box that reaches them', ('badly_regressed',)),
    ('kept by the NMS', ('suppressed_by_nms', 'shared_box')),
    ('detected', ('beyond_detection_limit',)),
)


def flow(split: Split) -> list[dict[str, object]]:
    """Return what is left of the objects after each step.

    Returns:
        list: ``step``, ``left``, and ``lost``: the count of each fate that is not 0.
    """
    objects = split.summary['objects']
    left = objects['total']
    rows = []
    for step, fates in STEPS:
        lost = {fate: objects[fate] for fate in fates if objects[fate]}
        left -= sum(lost.values())
        rows.append({'step': step, 'left': left, 'lost': lost})
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
    return sorted(set(split.columns.object_size.tolist()), key=_SIZES.index)


_SIZES = ('small', 'medium', 'large')
FATE_NAMES = tuple(FATES)
