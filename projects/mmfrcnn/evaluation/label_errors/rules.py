"""The four kinds of label errors, in one list.

As in ObjectLab (Tkachenko, Thyagarajan & Mueller 2023): overlooked, swapped and badly
located boxes, told by detections that are trusted and disagree. There scores are taken
as they are; here each kind is trusted as much as the like of it has been right on the
same evaluation, so that kinds can be compared. Duplicates are told by the labels.

Shapes: O opinions, G objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmfrcnn.evaluation.label_errors.excess import excess
from mmfrcnn.evaluation.label_errors.opinions import (
    SAME_PLACE,
    Opinions,
    rows_by_image,
)
from mmfrcnn.evaluation.label_errors.trust import leaning, rows_of_each, trust
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.matching import NOBODY, overlaps

KINDS = ('missing', 'wrong class', 'badly drawn', 'duplicate')
LEAST = 0.1
"""Certainty below which nobody would look."""
USUAL_MISFIT = 0.1
"""1 - IoU that no detector's boxes are expected to better."""
AT_ONCE = 1 << 22
"""Pairs of objects that are compared at once, so that memory is bounded."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelError:
    """A label that is probably wrong, or missing.

    Attributes:
        kind (str): One of `KINDS`.
        image (int): Place among the images.
        path (str): File of the image.
        box (Box): Where to look: of the label, or of what lacks one; xyxy in pixels of
            the image.
        label (str | None): Its class so far; None if it is missing.
        suggested_label (str | None): What it should be; None for a duplicate, which
            should not be.
        suggested_box (Box | None): What should be drawn; None for a duplicate.
        certainty (float): 0 to 1, how far the suggestion is to be trusted.
        object (int | None): Place among the objects; None if it is missing.
    """

    kind: str
    image: int
    path: str
    box: Box
    label: str | None
    suggested_label: str | None
    suggested_box: Box | None
    certainty: float
    object: int | None


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Opinions as the rules need them, arrays over O.

    Attributes:
        there (np.ndarray): How far it is to be trusted that something is there.
        named (np.ndarray): And in its class, given that; 0 where no object is.
        same (np.ndarray): Whether it speaks of an object, and of that object's class.
        other (np.ndarray): Whether it speaks of one, and calls it otherwise.
    """

    opinions: Opinions
    scores: np.ndarray
    labels: np.ndarray
    there: np.ndarray
    named: np.ndarray
    same: np.ndarray
    other: np.ndarray

    @classmethod
    def of(cls, columns: Columns) -> _Evidence:
        opinions = Opinions.of(columns)
        scores = columns.detection_score[opinions.detection].astype(np.float64)
        labels = columns.detection_label[opinions.detection]
        same = np.append(columns.object_label, NOBODY)[opinions.object] == labels
        at = opinions.iou >= SAME_PLACE
        named = np.zeros(len(scores))
        named[at] = trust(scores[at], labels[at], same[at])
        there = trust(scores, labels, opinions.largest_iou >= SAME_PLACE)
        return cls(opinions, scores, labels, there, named, same, at & ~same)


def label_errors(columns: Columns) -> list[LabelError]:
    """List labels that are probably wrong, the surest first.

    What the detector has learnt from, it may have learnt by heart, errors and all:
    images that it was not trained on say more.

    Args:
        columns (Columns): Of an evaluation, with detections of low scores too.
    """
    evidence = _Evidence.of(columns)
    found = [
        *_missing(columns, evidence),
        *_wrong_class(columns, evidence),
        *_badly_drawn(columns, evidence),
        *_duplicates(columns, evidence),
    ]
    kept = [error for error in found if error.certainty >= LEAST]
    return sorted(kept, key=lambda error: -error.certainty)


def _missing(columns: Columns, evidence: _Evidence) -> Iterator[LabelError]:
    """Something is seen, and no object is there; the less so the more of one is."""
    opinions = evidence.opinions
    certainty = evidence.there * (1 - opinions.largest_iou)
    free = (opinions.object == NOBODY) & (opinions.largest_iou < SAME_PLACE)
    for place in np.flatnonzero(free & (certainty >= LEAST)):
        detection = opinions.detection[place]
        box = _box(columns.detection_box[detection])
        name = str(columns.classes[columns.detection_label[detection]])
        image = int(columns.detection_image[detection])
        path = str(columns.image_path[image])
        sure = float(certainty[place])
        yield LabelError('missing', image, path, box, None, name, box, sure, None)


def _wrong_class(columns: Columns, evidence: _Evidence) -> Iterator[LabelError]:
    """It is taken for another class, as detections like this rarely are wrongly."""
    for place in np.flatnonzero(evidence.other):
        one = evidence.opinions.object[place]
        name = str(columns.classes[evidence.labels[place]])
        sure = evidence.named[place]
        yield _about(
            columns, 'wrong class', one, sure, name, _box(columns.object_box[one])
        )


def _badly_drawn(columns: Columns, evidence: _Evidence) -> Iterator[LabelError]:
    """It is seen in another box, farther off than usual for the class."""
    opinions = evidence.opinions
    rows = np.flatnonzero(evidence.same)
    if not len(rows):
        return
    labels, misfit = evidence.labels[rows], 1 - opinions.iou[rows]
    usual = np.zeros(len(rows))
    for of_class in rows_of_each(labels):
        median = np.median(misfit[of_class])
        usual[of_class] = leaning(median, len(of_class), np.median(misfit))
    relative = misfit / usual.clip(USUAL_MISFIT)
    surplus = excess(relative, 1.0, 0.5)
    # The rest is the detector's own misfits, which low scores have more often.
    misfits = 1 - trust(evidence.scores[rows], labels, relative < 2)
    own = (1 - surplus) * misfits / max(misfits.mean(), 1e-9)
    certainty = np.where(surplus > 0, 1 - own, 0)
    for place in np.flatnonzero(certainty >= LEAST):
        one, detection = (
            part[rows[place]] for part in (opinions.object, opinions.detection)
        )
        name = str(columns.classes[columns.object_label[one]])
        box = _box(columns.detection_box[detection])
        yield _about(columns, 'badly drawn', one, certainty[place], name, box)


def _duplicates(columns: Columns, evidence: _Evidence) -> Iterator[LabelError]:
    """Two objects overlap as no others do, and the detector does not see both."""
    support = _support(columns, evidence)
    first, second, iou = overlapping(columns)
    same = columns.object_label[first] == columns.object_label[second]
    certainty = np.zeros(len(iou))
    for kind in (same, ~same):
        certainty[kind] = excess(iou[kind], 0.3, 0.15)
    surplus = np.where(support[first] < support[second], first, second)
    certainty *= 1 - support[surplus]
    # Of one that is a duplicate twice, the surer.
    best: dict[int, float] = {}
    for one, sure in zip(surplus.tolist(), certainty.tolist(), strict=True):
        best[one] = max(sure, best.get(one, 0.0))
    for one, sure in best.items():
        yield _about(columns, 'duplicate', one, sure, None, None)


def _support(columns: Columns, evidence: _Evidence) -> np.ndarray:
    """Return how far the detector agrees with each object, 0 to 1, (G,)."""
    agrees = np.where(evidence.same, 1, 1 - evidence.named)
    speaks = evidence.opinions.object != NOBODY
    support = np.zeros(len(columns.object_label))
    support[evidence.opinions.object[speaks]] = (
        evidence.there * evidence.opinions.iou * agrees
    )[speaks]
    return support


def overlapping(columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of objects of one image that overlap.

    Returns:
        tuple: Places among the objects, the smaller first, int64, and their IoU,
        float64, shape (P,) each.
    """
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for rows in rows_by_image(columns.object_image, len(columns.image_id)):
        boxes = columns.object_box[rows]
        at_once = max(1, AT_ONCE // max(1, len(rows)))
        for start in range(0, len(rows), at_once):
            iou = overlaps(
                boxes[start : start + at_once], boxes, np.zeros(len(rows), bool)
            )
            first, second = np.nonzero(iou)
            later = first + start < second
            first, second = first[later], second[later]
            parts.append((rows[first + start], rows[second], iou[first, second]))
    first, second, iou = (np.concatenate(part) for part in zip(*parts, strict=True))
    return first, second, iou


def _about(
    columns: Columns,
    kind: str,
    one: int,
    certainty: float,
    label: str | None,
    box: Box | None,
) -> LabelError:
    image = int(columns.object_image[one])
    return LabelError(
        kind,
        image,
        str(columns.image_path[image]),
        _box(columns.object_box[one]),
        str(columns.classes[columns.object_label[one]]),
        label,
        box,
        float(certainty),
        int(one),
    )


def _box(box: np.ndarray) -> Box:
    x1, y1, x2, y2 = box.tolist()
    return x1, y1, x2, y2
