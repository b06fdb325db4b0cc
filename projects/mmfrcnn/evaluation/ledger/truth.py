"""The objects of a data set, as its annotations give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

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

    def in_input(self, scale_factor: Sequence[float]) -> Tensor:
        """Return the boxes in pixels of the network's input, float32, (G, 4).

        Args:
            scale_factor (Sequence[float]): What widths and heights were scaled by.
        """
        scale = torch.as_tensor(scale_factor, dtype=torch.float32).repeat(2)
        return torch.from_numpy(self.boxes).float() * scale


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
