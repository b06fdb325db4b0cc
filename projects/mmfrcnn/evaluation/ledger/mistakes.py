"""What is wrong with a false detection: TIDE's kinds (Bolya et al. 2020, section 2.2).

Shapes: D detections and G objects of an image, T thresholds of IoU.
"""

from __future__ import annotations

import numpy as np

from mmfrcnn.evaluation.ledger.matching import (
    NOBODY,
    THRESHOLDS,
    hits_of,
    match,
    overlaps,
)
from mmfrcnn.evaluation.ledger.truth import Truth

KINDS = {
    'true': 'finds an object',
    'poor_box': 'of its class, IoU of {background:g} to {iou:g}',
    'wrong_class': 'an object of another class, IoU of {iou:g} or more',
    'duplicate': 'an object that a better detection has found',
    'background': 'nothing there, IoU of {background:g} at most',
    'wrong_class_and_box': 'an object of another class, IoU of less than {iou:g}',
    'ignored': 'a crowd or an object that counts for nobody',
}
NAMES = tuple(KINDS)
BACKGROUND = 0.1


def kinds_of(
    iou: np.ndarray,
    labels: np.ndarray,
    gt_labels: np.ndarray,
    ignored: np.ndarray,
    matched: np.ndarray,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Say what each detection is, by TIDE's order of questions, and of which object.

    Args:
        iou (np.ndarray): Detections with objects, (D, G).
        labels (np.ndarray): Class of each detection, (D,).
        gt_labels (np.ndarray): Class of each object, (G,).
        ignored (np.ndarray): Objects that count for nobody, bool, (G,).
        matched (np.ndarray): Object that each detection finds, or `NOBODY`, (D,).
        threshold (float): IoU from which on an object is found.

    Returns:
        tuple: Index into `NAMES`, int64, (D,), and the object that the detection finds,
        or would without its mistake; `NOBODY` for duplicates and backgrounds, (D,).
    """
    same = (labels[:, None] == gt_labels) & ~ignored
    in_class, in_others = np.where(same, iou, 0), np.where(same | ignored, 0, iou)
    of_class, of_others = in_class.max(1, initial=0), in_others.max(1, initial=0)
    found = np.zeros(len(gt_labels), bool)
    found[matched[matched != NOBODY]] = True
    of_found = np.where(found, in_class, 0).max(1, initial=0)
    # The first that holds.
    answers = {
        'true': (matched != NOBODY) & ~np.append(ignored, True)[matched],
        'ignored': matched != NOBODY,
        'poor_box': (of_class >= BACKGROUND) & (of_class <= threshold),
        'wrong_class': of_others >= threshold,
        'duplicate': of_found >= threshold,
        'background': np.maximum(of_class, of_others) <= BACKGROUND,
    }
    kinds = np.full(len(labels), NAMES.index('wrong_class_and_box'))
    for name, holds in reversed(answers.items()):
        kinds[holds] = NAMES.index(name)
    about = matched.copy()
    for name, overlap in (('poor_box', in_class), ('wrong_class', in_others)):
        chosen = kinds == NAMES.index(name)
        if chosen.any():
            about[chosen] = overlap[chosen].argmax(1)
    return kinds, about


def judge(
    boxes: np.ndarray, labels: np.ndarray, truth: Truth, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair the detections of an image with its objects, and say what the others are.

    Args:
        boxes (np.ndarray): xyxy in pixels of the image, best first, (D, 4).
        labels (np.ndarray): Class of each, (D,).
        truth (Truth): The objects.
        threshold (float): IoU from which on an object is found.

    Returns:
        tuple: Index into `NAMES`, and the object that a detection finds, or would
        without its mistake, among those that count, or `NOBODY`; int64, (D,) each.
        Whether it finds one at each of COCO's IoUs: 1, 0, or -1 for what it finds and
        counts for nobody; int8, (T, D).
    """
    iou = overlaps(boxes, truth.boxes, truth.ignored)
    rest = labels, truth.labels, truth.ignored
    matched, *at_each = match(iou, *rest, [threshold, *THRESHOLDS])
    kinds, about = kinds_of(iou, *rest, matched, threshold)
    counts = ~truth.ignored
    # The last place is nobody's.
    place = np.append(np.where(counts, np.cumsum(counts) - 1, NOBODY), NOBODY)
    return kinds, place[about], hits_of(np.array(at_each), truth.ignored)
