"""The objects of a data set, as its annotations give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmfrcnn.errors import UserError


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects of an image.

    Attributes:
        boxes (np.ndarray): xyxy in pixels of the image, float64, shape (G, 4).
        labels (np.ndarray): Classes, int64, shape (G,).
        ignored (np.ndarray): Crowds, and what else counts for nobody, bool, (G,).
        path (str): File of the image.
    """

    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    path: str

    @classmethod
    def of(cls, info: dict[str, Any]) -> Truth:
        """Read what a data set knows of an image (``get_data_info``)."""
        objects = info.get('instances', ())
        return cls(
            np.array([one['bbox'] for one in objects], np.float64).reshape(-1, 4),
            np.array([one['bbox_label'] for one in objects], np.int64),
            np.array([one.get('ignore_flag', 0) for one in objects], bool),
            str(info.get('img_path', '')),
        )


def truths_of(dataset: Any) -> dict[Any, Truth]:
    """Return the objects of each image of a data set, by its id.

    Raises:
        UserError: If several images have one id, as in data sets that are joined.
    """
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    truths = {info['img_id']: Truth.of(info) for info in infos}
    if len(truths) < len(dataset):
        raise UserError(
            f'{len(dataset)} images have {len(truths)} ids between them, so their '
            'objects cannot be told apart: give each image an id of its own'
        )
    return truths


SMALL, MEDIUM = 32.0**2, 96.0**2  # COCO's
BORDER = 2.0  # pixels


def groups_of(truth: Truth, shape: Sequence[int]) -> dict[str, list[str]]:
    """Name the group of each object, by what may make it hard to find.

    Args:
        truth (Truth): Of an image.
        shape (Sequence[int]): (height, width) of the image in its own pixels.

    Returns:
        dict: ``size`` (by the area of the box, COCO's bounds), ``aspect``, ``crowding``
        (the largest IoU with another object) and ``position``, a name an object each.
    """
    boxes = truth.boxes
    width, height = (boxes[:, 2:] - boxes[:, :2]).clip(1e-6).T
    area, ratio = width * height, width / height
    low, high = boxes[:, :2].min(1), (np.array(shape[1::-1]) - boxes[:, 2:]).min(1)
    return {
        'size': _named(area, (SMALL, MEDIUM), ('small', 'medium', 'large')),
        'aspect': _named(ratio, (0.5, 2.0), ('tall', 'regular', 'wide')),
        'crowding': _named(_most_shared(boxes), (1e-9, 0.3), ('alone', 'near', 'hid')),
        'position': _named(np.minimum(low, high), (BORDER,), ('at the border', 'in')),
    }


def _named(
    values: np.ndarray, bounds: Sequence[float], names: Sequence[str]
) -> list[str]:
    return [names[place] for place in np.searchsorted(bounds, values, 'right')]


def _most_shared(boxes: np.ndarray) -> np.ndarray:
    """Return the largest IoU of each box with another, (G,)."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = (high - low).clip(0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    shared = common / (areas[:, None] + areas - common).clip(1e-6)
    np.fill_diagonal(shared, 0)
    return shared.max(1, initial=0)
