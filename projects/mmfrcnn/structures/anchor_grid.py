"""All anchors of one set of feature map sizes, and which of them count.

Shapes: N images, S anchors of all levels: level by level, then row, column, anchor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor


@dataclass
class AnchorGrid:
    """All anchors of one set of feature map sizes.

    Attributes:
        boxes (Tensor): xyxy in input pixels, float32, shape (S, 4).
        cells (Tensor): Upper left corner (x, y) of each anchor's cell in input pixels,
            float32, shape (S, 2).
        ids (Tensor): A number for each (level, row, column, anchor) that is the same
            in grids of any size, int64 below 2**30, shape (S,).
        sizes (list[int]): Number of anchors in each level.
        reach (tuple[int, int]): Largest (y, x) of any cell's corner in input pixels.
        columns (list[np.ndarray]): (x1, x2) of the A anchors in each of a level's W
            columns of cells, float32, shape (A, W, 2).
        rows (list[np.ndarray]): (y1, y2) in each row, likewise.
    """

    boxes: Tensor
    cells: Tensor
    ids: Tensor
    sizes: list[int]
    reach: tuple[int, int]
    columns: list[np.ndarray]
    rows: list[np.ndarray]
    _fits: dict[tuple, bool] = field(default_factory=dict, repr=False)

    def valid(
        self, padded: Tensor | None, inside: Tensor | None, border: float
    ) -> Tensor | None:
        """Say which anchors of each image may be trained on.

        Args:
            padded (Tensor | None): (height, width) of each padded image, shape (N, 2):
                cells wholly beyond it do not count. None: all cells count.
            inside (Tensor | None): (height, width) of each image, shape (N, 2).
            border (float): Anchors reaching further than this many pixels across the
                image's border do not count (Ren et al. 2015, section 3.3); negative:
                all count.

        Returns:
            Tensor | None: bool, shape (N, S); None where every anchor counts.
        """
        mask = None
        if padded is not None:
            mask = (self.cells < padded.flip(-1)[:, None]).all(-1)
        if border >= 0 and inside is not None:
            limit = inside.flip(-1)[:, None] + border  # (N, 1, 2)
            within = (self.boxes[:, :2] >= -border).all(-1)
            within = within & (self.boxes[:, 2:] < limit).all(-1)
            mask = within if mask is None else mask & within
        return mask

    def any_inside(self, size: tuple[int, int], border: float) -> bool:
        """Say, on the host, whether an image has an anchor that may be trained on.

        Args:
            size (tuple[int, int]): (height, width) of the image.
            border (float): As in :meth:`valid`, not negative.

        Returns:
            bool: False where every anchor crosses the border.
        """
        key = *size, border
        if key not in self._fits:  # the anchors are looked at once a size
            height, width = size
            self._fits[key] = any(
                # Of the same anchor of a cell: some column's and some row's.
                (_within(columns, width, border) & _within(rows, height, border)).any()
                for columns, rows in zip(self.columns, self.rows, strict=True)
            )
        return self._fits[key]


def _within(spans: np.ndarray, length: int, border: float) -> np.ndarray:
    """Which anchors of a cell have a span (A, W, 2) within an image's side: (A,)."""
    inside = (spans[..., 0] >= -border) & (spans[..., 1] < length + border)
    return np.any(inside, axis=1)


def spans(base: np.ndarray, count: int, step: int) -> np.ndarray:
    """Move intervals (A, 2) by so many steps along an axis: float32, (A, count, 2)."""
    return base[:, None] + np.arange(count, dtype=np.float32)[:, None] * np.float32(
        step
    )


def reach(
    feature_sizes: Sequence[tuple[int, int]], strides: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """Return the largest (y, x) of any cell's corner in input pixels.

    Args:
        feature_sizes (Sequence[tuple]): (height, width) of each level.
        strides (Sequence[tuple]): Steps (x, y) of each level.
    """
    corners = [
        ((height - 1) * step_y, (width - 1) * step_x)
        for (height, width), (step_x, step_y) in zip(
            feature_sizes, strides, strict=True
        )
    ]
    ys, xs = zip(*corners, strict=True)
    return max(ys), max(xs)
