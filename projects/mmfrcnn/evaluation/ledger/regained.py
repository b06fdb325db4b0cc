"""The AP that each step and each kind of mistake costs.

As TIDE has it (Bolya et al. 2020, section 2.3): one kind is put right, nothing else is
changed, and the AP at the ledger's IoU is computed anew. An object that a step lost is
put right by not asking for it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmfrcnn.evaluation.ledger.fates import NOT_PROPOSED
from mmfrcnn.evaluation.ledger.matching import NOBODY
from mmfrcnn.evaluation.ledger.mistakes import NAMES
from mmfrcnn.evaluation.ledger.oracles import DETECTOR, ORACLES
from mmfrcnn.evaluation.ledger.page import Answer, Page, about_all, joined

STEPS = {
    'anchors': ('no_anchor',),
    'proposals': NOT_PROPOSED,
    'class': ('called_background', 'called_other_class', 'below_score_threshold'),
    'box': ('badly_regressed',),
    'NMS': ('suppressed_by_nms', 'shared_box'),
    'detection limit': ('beyond_detection_limit',),
}
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class _All:
    """All detections and objects of an evaluation: arrays over D and G."""

    labels: np.ndarray
    scores: np.ndarray
    true: np.ndarray
    kinds: np.ndarray
    about: np.ndarray
    gt_labels: np.ndarray
    fates: np.ndarray


def regained(pages: Sequence[Page], classes: int) -> dict[str, object]:
    """Return the AP at the ledger's IoU, and what it would gain.

    Args:
        pages (Sequence[Page]): The account of each image.
        classes (int): Number of classes.

    Returns:
        dict: ``AP``; ``objects``: the gain by step; ``detections``: the gain by kind of
        mistake, and ``missed``: objects that no mistake is about. The AP is -1 without
        objects.
    """
    everything = _all_of(pages)
    known = np.bincount(everything.gt_labels, minlength=classes) > 0
    base = _mean_ap(everything, known)

    def gain(changed: _All) -> float:
        return _mean_ap(changed, known) - base

    used = np.zeros(len(everything.gt_labels), bool)
    used[everything.about[everything.about != NOBODY]] = True
    return {
        'AP': base,
        'objects': {
            step: gain(_without(everything, np.isin(everything.fates, fates)))
            for step, fates in STEPS.items()
        },
        'detections': {
            **{
                name: gain(_put_right(everything, NAMES.index(name)))
                for name in NAMES
                if name not in ('true', 'ignored')
            },
            'missed': gain(_without(everything, ~used)),
        },
    }


def _all_of(pages: Sequence[Page]) -> _All:
    kinds = joined([page.kinds for page in pages], np.int64)
    return _All(
        labels=joined([page.found_labels for page in pages], np.int64),
        scores=joined([page.scores for page in pages], np.float64),
        true=kinds == NAMES.index('true'),
        kinds=kinds,
        about=about_all(pages),
        gt_labels=joined([page.labels for page in pages], np.int64),
        fates=np.array([fate for page in pages for fate in page.fates], str),
    )


def _without(everything: _All, lost: np.ndarray) -> _All:
    """Leave out objects, none of which is found, (G,)."""
    return replace(everything, gt_labels=everything.gt_labels[~lost])


def _put_right(everything: _All, kind: int) -> _All:
    """Let the mistakes of a kind find their objects, or be none.

    Of several about one object the best is put right, and one that is about an object
    found already is left out; a wrong class becomes that of the object.
    """
    wrong = np.flatnonzero(everything.kinds == kind)
    wrong = wrong[np.argsort(-everything.scores[wrong], kind='stable')]
    about = everything.about[wrong]
    found = set(everything.about[everything.true].tolist()) | {NOBODY}
    right, objects = [], []
    for detection, one in zip(wrong.tolist(), about.tolist(), strict=True):
        if one not in found:
            found.add(one)
            right.append(detection)
            objects.append(one)
    true, labels = everything.true.copy(), everything.labels.copy()
    kinds = everything.kinds.copy()
    kinds[wrong] = NAMES.index('ignored')
    kinds[right] = NAMES.index('true')
    true[right] = True
    labels[right] = everything.gt_labels[objects]
    return replace(everything, true=true, labels=labels, kinds=kinds)


def oracle_gains(pages: Sequence[Page], classes: int) -> dict[str, object]:
    """Return the AP that the detector would gain by each oracle.

    Args:
        pages (Sequence[Page]): The account of each image.
        classes (int): Number of classes.

    Returns:
        dict: ``detector``: ``AP`` at the ledger's IoU and ``mean_AP`` over COCO's, -1
        without objects; ``gains``: what each oracle adds to them, by its name.
    """
    gt_labels = joined([page.labels for page in pages], np.int64)
    names = set.intersection(*({*page.oracles} for page in pages)) if pages else set()
    found = {
        name: _oracle_ap([page.oracles[name] for page in pages], gt_labels, classes)
        for name in (DETECTOR, *ORACLES)
        if name in names
    }
    base = found.pop(DETECTOR, {})
    return {
        DETECTOR: base,
        'gains': {
            name: {kind: value - base[kind] for kind, value in aps.items()}
            for name, aps in found.items()
        },
    }


def _oracle_ap(
    answers: Sequence[Answer], gt_labels: np.ndarray, classes: int
) -> dict[str, float]:
    labels = joined([one.labels for one in answers], np.int64)
    scores = joined([one.scores for one in answers], np.float64)
    hits = np.concatenate([one.hits for one in answers], 1)
    asked = np.bincount(gt_labels, minlength=classes)
    order = np.lexsort((-scores, labels))
    labels, hits = labels[order], hits[:, order]
    aps = [_mean_ap_of_hits(labels, row, asked, asked > 0) for row in hits]
    return {'AP': aps[0], 'mean_AP': float(np.mean(aps[1:]))}


def _mean_ap(everything: _All, known: np.ndarray) -> float:
    """Return COCO's mean AP at one IoU over the known classes, bool, (C,)."""
    hits = np.where(everything.kinds == NAMES.index('ignored'), -1, everything.true)
    order = np.lexsort((-everything.scores, everything.labels))
    asked = np.bincount(everything.gt_labels, minlength=len(known))
    return _mean_ap_of_hits(everything.labels[order], hits[order], asked, known)


def _mean_ap_of_hits(
    labels: np.ndarray, hits: np.ndarray, asked: np.ndarray, known: np.ndarray
) -> float:
    """Return the mean AP of detections in the order of classes, best first.

    Args:
        labels (np.ndarray): Classes, (D,).
        hits (np.ndarray): 1, 0, or -1 for one that counts for nobody, (D,).
        asked (np.ndarray): Objects of each class, (C,).
        known (np.ndarray): Classes that the mean is over, bool, (C,).
    """
    labels, true = labels[hits >= 0], hits[hits >= 0] == 1
    bounds = np.searchsorted(labels, np.arange(len(known) + 1))
    found = [
        average_precision(true[bounds[label] : bounds[label + 1]], asked[label])
        for label in np.flatnonzero(known)
    ]
    return float(np.mean(found)) if found else -1.0


def average_precision(true: np.ndarray, objects: int) -> float:
    """Return COCO's average precision: the mean over 101 recalls.

    Args:
        true (np.ndarray): Which detections find an object, best first, bool, (D,).
        objects (int): How many there are; of none, all are found: by no detections the
            AP is 1, by any it is 0.
    """
    if not objects:
        return float(not len(true))
    right = np.cumsum(true)
    precision = right / np.arange(1, len(true) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / objects, RECALLS, side='left')
    return float(np.append(best, 0.0)[places].mean())
