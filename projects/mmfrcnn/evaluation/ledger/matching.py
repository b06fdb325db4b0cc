"""Which detection finds which object: COCO's rule, at one IoU.

Shapes: D detections and G objects of an image.
"""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

NOBODY = -1


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
    threshold: float,
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
        threshold (float): IoU from which on an object is found.

    Returns:
        np.ndarray: Index of the object of each detection, or `NOBODY`, int64, (D,).
    """
    least = min(threshold, 1 - 1e-10)  # as there
    found = np.full(len(labels), NOBODY, np.int64)
    free = np.ones(len(gt_labels), bool)
    enough = (iou >= least) & (labels[:, None] == gt_labels)
    for detection in np.flatnonzero(enough.any(1)):
        usable = enough[detection] & (free | ignored)
        if (usable & ~ignored).any():
            usable &= ~ignored
        if usable.any():
            best = np.where(usable, iou[detection], -1)[::-1].argmax()
            found[detection] = len(free) - 1 - best
            free[found[detection]] = False
    return found
