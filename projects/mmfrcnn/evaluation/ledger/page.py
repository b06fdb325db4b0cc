"""The account of one image, and of several together.

Shapes: G objects that count, D detections, T thresholds of IoU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmfrcnn.evaluation.ledger.matching import NOBODY


@dataclass(frozen=True, eq=False)
class Answer:
    """What a detector answers, or would, and what that is worth.

    Attributes:
        scores (np.ndarray): Best first, float32, (D,).
        labels (np.ndarray): Classes, int64, (D,).
        hits (np.ndarray): Whether it finds an object at the ledger's IoU and at each of
            COCO's: 1, 0, or -1 for one that counts for nobody, int8, (1 + T, D).
    """

    scores: np.ndarray
    labels: np.ndarray
    hits: np.ndarray


@dataclass(frozen=True, eq=False)
class Page:
    """The account of one image.

    Attributes:
        image_id (Any): Id of the image.
        path (str): Its file.
        boxes (np.ndarray): The objects that count, xyxy in its pixels, (G, 4).
        labels (np.ndarray): Their classes, (G,).
        groups (dict[str, list[str]]): Names of their groups, by kind of group.
        fates (list[str]): A key of `FATES` each.
        anchor_iou (np.ndarray): IoU of the nearest anchor, NaN without anchors, (G,).
        ranks (np.ndarray): Proposal that finds each, by threshold, (T, G).
        found (np.ndarray): Detections, xyxy in its pixels, best first, (D, 4).
        scores (np.ndarray): (D,).
        found_labels (np.ndarray): (D,).
        kinds (np.ndarray): Index into `mistakes.NAMES`, (D,).
        about (np.ndarray): The object that each finds, or would without its mistake,
            or `NOBODY`, (D,).
        hits (np.ndarray): Whether it finds an object at each of COCO's IoUs: 1, 0, or
            -1 for one that counts for nobody, int8, (T, D).
        shape (Sequence[int]): (height, width) of the image.
        scale (Sequence[float]): What its width and height were scaled by.
        oracles (dict[str, Answer]): What the detector would answer, had it one step
            perfect: :func:`~mmfrcnn.evaluation.ledger.oracles.oracles_of`.
    """

    image_id: Any
    path: str
    boxes: np.ndarray
    labels: np.ndarray
    groups: dict[str, list[str]]
    fates: list[str]
    anchor_iou: np.ndarray
    ranks: np.ndarray
    found: np.ndarray
    scores: np.ndarray
    found_labels: np.ndarray
    kinds: np.ndarray
    about: np.ndarray
    hits: np.ndarray
    shape: Sequence[int]
    scale: Sequence[float]
    oracles: dict[str, Answer] = field(default_factory=dict)


def joined(
    parts: Sequence[np.ndarray] | Sequence[list[int]],
    dtype: type,
    shape: tuple[int, ...] = (0,),
) -> np.ndarray:
    """Put arrays one after the other; of none, it is an empty one of a shape."""
    return np.concatenate([np.zeros(shape, dtype), *parts]).astype(dtype)


def about_all(pages: Sequence[Page]) -> np.ndarray:
    """Return the object of each detection among those of all pages, or `NOBODY`."""
    starts = np.cumsum([0, *(len(page.labels) for page in pages)])[:-1]
    about = [
        np.where(page.about == NOBODY, NOBODY, page.about + start)
        for page, start in zip(pages, starts, strict=True)
    ]
    return joined(about, np.int64)
