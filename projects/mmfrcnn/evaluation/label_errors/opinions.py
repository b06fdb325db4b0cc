"""What a detector says of each place of an image, and of which object it speaks.

Shapes: D detections and G objects of an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.matching import NOBODY, overlaps

SAME_PLACE = 0.5
"""IoU from which on two boxes are of one place."""
NEAR = 0.3
"""IoU from which on a box is of an object of its class that no better one is of."""


@dataclass(frozen=True, eq=False)
class Opinions:
    """The best detection of each place: O over all images, the highest score first.

    Those that count for nobody are left out.

    Attributes:
        detection (np.ndarray): Place among the detections, int64, (O,).
        object (np.ndarray): Place among the objects of the one that it speaks of, or
            `NOBODY`; no two speak of one; int64, (O,).
        iou (np.ndarray): With that object, 0 without, float64, (O,).
        largest_iou (np.ndarray): With any object, float64, (O,).
    """

    detection: np.ndarray
    object: np.ndarray
    iou: np.ndarray
    largest_iou: np.ndarray

    @classmethod
    def of(cls, columns: Columns) -> Opinions:
        """Read them from an evaluation, image by image."""
        images = len(columns.image_id)
        parts = [
            _of_image(columns, detections, objects)
            for detections, objects in zip(
                rows_by_image(columns.detection_image, images),
                rows_by_image(columns.object_image, images),
                strict=True,
            )
        ]
        whole = [np.zeros(0, np.int64)] * 2 + [np.zeros(0)] * 2
        opinions = [np.concatenate(part) for part in zip(whole, *parts, strict=True)]
        order = np.argsort(-columns.detection_score[opinions[0]], kind='stable')
        return cls(*(part[order] for part in opinions))


def rows_by_image(image: np.ndarray, images: int) -> list[np.ndarray]:
    """Return the rows of each of a number of images, given each row's image, (N,)."""
    order = np.argsort(image, kind='stable')
    bounds = np.searchsorted(image[order], np.arange(images + 1))
    return np.split(order, bounds)[1:-1]


def _of_image(
    columns: Columns, detections: np.ndarray, objects: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-columns.detection_score[detections], kind='stable')
    detections = detections[order]
    detections = detections[best_of_place(columns.detection_box[detections])]
    nobody = (columns.detection_hits[:, detections] == NOBODY).any(0)
    detections = detections[~nobody]
    iou = overlaps(
        columns.detection_box[detections],
        columns.object_box[objects],
        np.zeros(len(objects), bool),
    )
    labels = columns.detection_label[detections, None]
    same = labels == columns.object_label[objects]
    usable = (iou >= SAME_PLACE) | (same & (iou >= NEAR))
    # An object of its class at the same place goes before all others.
    value = iou + (same & (iou >= SAME_PLACE))
    value *= columns.detection_score[detections, None]
    place = pair(np.where(usable, value, 0))
    speaks = place != NOBODY
    about = np.full(len(detections), NOBODY)
    about[speaks] = objects[place[speaks]]
    own = np.zeros(len(detections))
    own[speaks] = iou[speaks, place[speaks]]
    return detections, about, own, iou.max(1, initial=0)


def best_of_place(boxes: np.ndarray) -> np.ndarray:
    """Return which boxes are at no place of a better one, whatever their classes.

    Args:
        boxes (np.ndarray): xyxy, best first, shape (D, 4).

    Returns:
        np.ndarray: Bool, shape (D,).
    """
    covers = overlaps(boxes, boxes, np.zeros(len(boxes), bool)) >= SAME_PLACE
    best = np.ones(len(boxes), bool)
    for place in range(len(boxes)):
        if best[place]:
            best[place + 1 :] &= ~covers[place, place + 1 :]
    return best


def pair(value: np.ndarray) -> np.ndarray:
    """Pair rows with columns one to one, greedily, the largest value first.

    Args:
        value (np.ndarray): What a pair is worth, 0 for none, shape (D, G).

    Returns:
        np.ndarray: Column of each row, or `NOBODY`, int64, shape (D,).
    """
    rows, places = np.nonzero(value)
    order = np.argsort(-value[rows, places], kind='stable')
    found = np.full(len(value), NOBODY)
    taken = np.zeros(value.shape[1], bool)
    for row, place in zip(rows[order].tolist(), places[order].tolist(), strict=True):
        if found[row] == NOBODY and not taken[place]:
            found[row] = place
            taken[place] = True
    return found
