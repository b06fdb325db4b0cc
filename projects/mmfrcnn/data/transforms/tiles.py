"""Cutting a large image into overlapping tiles, each prepared as one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmdet.registry import TRANSFORMS


@dataclass(frozen=True)
class Tiles:
    """An image and its tiles, prepared.

    Attributes:
        items: What the pipeline packed: first of the whole image, then of each tile.
        places: xyxy of each tile in the image, int (T, 4).
    """

    items: list[dict[str, Any]]
    places: np.ndarray


@TRANSFORMS.register_module()
class CutTiles(BaseTransform):
    """Prepare an image as a whole and in tiles, with the same further steps.

    Put it behind ``LoadImageFromFile``, around all other steps of a test pipeline; the
    model must be a `TiledDetector`. An image no larger than a tile is left whole.

    Required keys: ``img``, (H, W, 3). Instead of the packed ``inputs`` there are
    `Tiles`; ``data_samples`` is that of the whole image.

    Args:
        size (tuple[int, int]): Width and height of a tile, in pixels of the image.
        overlap (float): Share of a tile that it has in common with the next.
        transforms (Sequence[dict]): The further steps, which pack at the end.
    """

    def __init__(
        self, size: tuple[int, int], overlap: float, transforms: Sequence[dict]
    ) -> None:
        self.size = size
        self.overlap = overlap
        self.steps = Compose(transforms)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Prepare the image and its tiles."""
        image = results['img']
        height, width = image.shape[:2]
        places = tile_places((width, height), self.size, self.overlap)
        items = [self.steps(dict(results))]
        for x1, y1, x2, y2 in places:
            part = np.ascontiguousarray(image[y1:y2, x1:x2])
            shape = part.shape[:2]
            # The ground truth is the whole image's.
            tile = {**results, 'img': part, 'img_shape': shape, 'ori_shape': shape}
            items.append(self.steps({**tile, 'instances': []}))
        return {
            'inputs': Tiles(items, places),
            'data_samples': items[0]['data_samples'],
        }


def tile_places(
    image: tuple[int, int], tile: tuple[int, int], overlap: float
) -> np.ndarray:
    """Return where tiles lie that cover an image, int (T, 4), xyxy; none if one would.

    All are of the full size, as even as whole pixels allow; neighbours share at least
    the overlap.

    Args:
        image (tuple[int, int]): Width and height of the image.
        tile (tuple[int, int]): Of a tile.
        overlap (float): Share of a tile, from 0 to below 1.

    Example:
        >>> tile_places((250, 100), (100, 100), 0.2).tolist()
        [[0, 0, 100, 100], [75, 0, 175, 100], [150, 0, 250, 100]]
    """
    starts = [
        _starts(whole, part, overlap) for whole, part in zip(image, tile, strict=True)
    ]
    if len(starts[0]) * len(starts[1]) == 1:
        return np.zeros((0, 4), np.int64)
    sides = [min(whole, part) for whole, part in zip(image, tile, strict=True)]
    return np.array(
        [(x, y, x + sides[0], y + sides[1]) for y in starts[1] for x in starts[0]],
        np.int64,
    )


def _starts(whole: int, part: int, overlap: float) -> list[int]:
    """Return where tiles begin along one side."""
    if part >= whole:
        return [0]
    step = max(part * (1 - overlap), 1)
    count = int(np.ceil((whole - part) / step - 1e-9)) + 1
    return np.linspace(0, whole - part, count).round().astype(int).tolist()
