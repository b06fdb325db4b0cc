"""Which detection finds which object: COCO's rule.

Shapes: D detections and G objects of an image, T thresholds of IoU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

NOBODY = -1
THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's IoUs."""


def overlaps(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes with others as COCO's evaluator does.

    Of a crowd it is the share of the box that the crowd covers.

    Args:
        boxes (np.ndarray): xyxy, shape (D, 4).
        others (np.ndarray): xyxy, shape (G, 4).
        crowd (np.ndarray): Which of them are crowds, bool, shape (G,).

    Returns:
        np.ndarray: float64, shape (D, G).
    """
    if not len(boxes) or not len(others):
        return np.zeros((len(boxes), len(others)))
    found = coco_mask.iou(xywh(boxes), xywh(others), crowd.astype(np.uint8))
    return np.asarray(found).reshape(len(boxes), len(others))


def xywh(boxes: np.ndarray) -> np.ndarray:
    """Return boxes xyxy as (x, y, width, height), float64, shape (D, 4)."""
    boxes = np.array(boxes, np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def match(
    iou: np.ndarray,
    labels: np.ndarray,
    gt_labels: np.ndarray,
    ignored: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Pair detections with objects of their class, greedily, best detection first.

    Each takes the object that it overlaps most among those that are free and overlapped
    enough, of equals the last; an ignored one only where there is no other, and that is
    never used up.

    Args:
        iou (np.ndarray): Detections with objects, best detection first, (D, G).
        labels (np.ndarray): Class of each detection, (D,).
        gt_labels (np.ndarray): Class of each object, (G,).
        ignored (np.ndarray): Objects that count for nobody, bool, (G,).
        thresholds (Sequence[float]): From which IoU on an object is found, (T,).

    Returns:
        np.ndarray: Index of the object of each detection, or `NOBODY`, int64, (T, D).
    """
    # The largest of them is as there, for IoUs of 1.
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]  # (T, 1)
    found = np.full((len(least), len(labels)), NOBODY, np.int64)
    free = np.ones((len(least), len(gt_labels)), bool)
    same = labels[:, None] == gt_labels
    for detection in np.flatnonzero((same & (iou >= least.min())).any(1)):
        usable = same[detection] & (iou[detection] >= least) & (free | ignored)
        counted = usable & ~ignored
        usable = np.where(counted.any(1, keepdims=True), counted, usable)
        best = np.where(usable, iou[detection], -1)[:, ::-1].argmax(1)
        best = len(gt_labels) - 1 - best
        rows = np.flatnonzero(usable.any(1))
        found[rows, detection] = best[rows]
        free[rows, best[rows]] = False
    return found


def hits_of(matched: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Say of matched detections what finding their object is worth.

    Args:
        matched (np.ndarray): Of :func:`match`, (T, D).
        ignored (np.ndarray): Objects that count for nobody, bool, (G,).

    Returns:
        np.ndarray: 1 for an object, 0 for none, -1 for an ignored one, int8, (T, D).
    """
    return np.append(np.where(ignored, -1, 1), 0).astype(np.int8)[matched]
