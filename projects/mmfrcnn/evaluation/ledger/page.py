"""The account of one image, and of several together.

Shapes: G objects that count, D detections, T thresholds of IoU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmfrcnn.evaluation.ledger.matching import NOBODY
from mmfrcnn.evaluation.ledger.nearest import Nearest


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
        nearest (Nearest): What came nearest to each.
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
    nearest: Nearest
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
    return places_of_all(
        [page.about for page in pages], [len(page.labels) for page in pages]
    )


def places_of_all(places: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """Turn places in one page's list each into places in the joined list.

    Args:
        places (Sequence[np.ndarray]): Of each page, `NOBODY` where there is none.
        sizes (Sequence[int]): Length of each page's list.
    """
    starts = np.cumsum([0, *sizes])[:-1]
    moved = [
        np.where(own == NOBODY, NOBODY, own + start)
        for own, start in zip(places, starts, strict=True)
    ]
    return joined(moved, np.int64)
