"""The detections of each class, best first, in the order of COCO's evaluator.

Shapes: I images, G objects, D detections, T thresholds of IoU, C classes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.ledger.columns import Columns


@dataclass(frozen=True, eq=False)
class Ranking:
    """Detections sorted by class, then by score; of equal scores the first image's.

    The images are in the order of their ids, as pycocotools takes them.

    Attributes:
        image (np.ndarray): Place of each detection's image, int64, (D,).
        label (np.ndarray): Classes, int64, (D,).
        score (np.ndarray): float32, (D,).
        hits (np.ndarray): Whether it finds an object at each threshold: 1, 0, or -1 for
            one that counts for nobody, int8, (T, D).
        starts (np.ndarray): Where the detections of each class start, int64, (C + 1,).
        object_image (np.ndarray): Place of each object's image, int64, (G,).
        object_label (np.ndarray): Classes, int64, (G,).
    """

    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    hits: np.ndarray
    starts: np.ndarray
    object_image: np.ndarray
    object_label: np.ndarray

    @classmethod
    def of(cls, columns: Columns) -> Ranking:
        """Sort the detections of an evaluation."""
        places = image_places(columns.image_id)
        image = places[columns.detection_image]
        # Stable: within an image, those of equal scores stay as they are.
        keys = image, -columns.detection_score, columns.detection_label
        order = np.lexsort(keys)
        label = columns.detection_label[order]
        return cls(
            image[order],
            label,
            columns.detection_score[order],
            columns.detection_hits[:, order],
            np.searchsorted(label, np.arange(len(columns.classes) + 1)),
            places[columns.object_image],
            columns.object_label,
        )


def image_places(ids: np.ndarray) -> np.ndarray:
    """Return the place of each image in the order of their ids, int64, (I,).

    Example:
        >>> image_places(np.array(['10', '2', '9'])).tolist()  # numbers, as COCO's are
        [2, 0, 1]
        >>> image_places(np.array(['c', 'a', '10'])).tolist()
        [2, 1, 0]
    """
    with suppress(ValueError, OverflowError):  # texts
        ids = ids.astype(np.int64)
    return np.unique(ids, return_inverse=True)[1].astype(np.int64)


def row_of(thresholds: np.ndarray, iou: float) -> int:
    """Return the place of an IoU among the thresholds, (T,).

    Raises:
        UserError: If it is none of them.
    """
    rows = np.flatnonzero(np.isclose(thresholds, iou))
    if not len(rows):
        known = ', '.join(f'{one:g}' for one in thresholds)
        raise UserError(f'the ledger has no IoU of {iou:g}: take one of {known}')
    return int(rows[0])
