"""The ledger as a file of columns, which no reader has to trust.

An ``.npz`` of plain arrays: read with ``numpy.load`` as it is by default, nothing in it
is executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmfrcnn.evaluation.ledger.fates import FATES
from mmfrcnn.evaluation.ledger.mistakes import NAMES
from mmfrcnn.evaluation.ledger.page import Page, about_all, joined


def write_columns(path: Path, pages: Sequence[Page], classes: Sequence[str]) -> None:
    """Write a row an image, a row an object that counts and a row a detection.

    Args:
        path (Path): The ``.npz`` file.
        pages (Sequence[Page]): The account of each image.
        classes (Sequence[str]): Names of the classes.

    The arrays, of I images, G objects and D detections:

    - ``image_id`` and ``image_path``, texts (I,);
    - ``object_image`` (place among the images), ``object_label``, ``object_fate``
      (place in ``fates``), int64 (G,); ``object_box``, xyxy in pixels of the image,
      float64 (G, 4); ``object_anchor_iou`` of the nearest anchor, NaN without anchors,
      and ``object_rank`` of the first proposal that finds it at IoU .5, infinite if
      none does, float64 (G,);
    - ``detection_image``, ``detection_label``, ``detection_kind`` (place in ``kinds``),
      ``detection_object`` (place among the objects that it finds, or would without its
      mistake, -1 if there is none), int64 (D,); ``detection_box``, float32 (D, 4),
      ``detection_score`` (D,);
    - ``classes``, ``fates``, ``kinds``: names, texts.
    """
    objects = [len(page.labels) for page in pages]
    detections = [len(page.scores) for page in pages]
    fates = list(FATES)
    lost = [[fates.index(fate) for fate in page.fates] for page in pages]
    numbers = np.arange(len(pages))
    np.savez_compressed(
        path,
        image_id=np.array([str(page.image_id) for page in pages], str),
        image_path=np.array([page.path for page in pages], str),
        object_image=np.repeat(numbers, objects),
        object_label=joined([page.labels for page in pages], np.int64),
        object_fate=joined(lost, np.int64),
        object_box=joined([page.boxes for page in pages], np.float64, (0, 4)),
        object_anchor_iou=joined([page.anchor_iou for page in pages], np.float64),
        object_rank=joined([page.ranks[0] for page in pages], np.float64),
        detection_image=np.repeat(numbers, detections),
        detection_label=joined([page.found_labels for page in pages], np.int64),
        detection_kind=joined([page.kinds for page in pages], np.int64),
        detection_object=about_all(pages),
        detection_box=joined([page.found for page in pages], np.float32, (0, 4)),
        detection_score=joined([page.scores for page in pages], np.float32),
        classes=np.array(classes, str),
        fates=np.array(fates, str),
        kinds=np.array(NAMES, str),
    )
