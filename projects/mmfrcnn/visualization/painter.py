"""Boxes, names and masks on pictures: what predict, browse and the panels share.

Pillow draws straight into the pixels: the cost is that of the lines, and of one copy of
the picture, however large that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from mmdet.visualization.palette import get_palette
from mmengine.structures import InstanceData
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]  # RGB
COMMON_WIDTH = 640
"""Lines and letters grow with pictures that are wider than this, in pixels."""
LETTERS = 14
"""Pixels from one line of text to the next."""
DASH = 6
"""Pixels of a dash and of the gap behind it."""
TRANSPARENT = 0.5
"""Share of the picture that is seen through a mask."""


class Painter:
    """Draws on one picture after another.

    Args:
        classes (Sequence[str]): Class names, by label.
        palette (Any): RGB colours, by label, or the name of a palette of mmdet's.
    """

    def __init__(self, classes: Sequence[str], palette: Any = 'random') -> None:
        self.classes = tuple(classes)
        self.colours = get_palette(palette, len(self.classes))
        self.font = Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf')

    def draw(self, picture: np.ndarray, found: InstanceData) -> np.ndarray:
        """Return a picture, RGB uint8 (H, W, 3), with objects: see :meth:`objects`."""
        self.start(picture)
        self.objects(found)
        return self.picture()

    def start(self, picture: np.ndarray, zoom: int = 1) -> None:
        """Take a new picture.

        Args:
            picture (np.ndarray): RGB uint8, shape (H, W, 3).
            zoom (int): Enlarge it by this; what is drawn is enlarged likewise.
        """
        self.zoom = zoom
        size = (picture.shape[1] * zoom, picture.shape[0] * zoom)
        large = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        self._take(large if zoom > 1 else picture)
        self.thickness = max(1.0, size[0] / COMMON_WIDTH)

    def objects(self, found: InstanceData) -> None:
        """Draw boxes in the colour of their class, with its name.

        Args:
            found (InstanceData): ``bboxes`` (K, 4), xyxy in pixels of the picture,
                ``labels`` (K,) and, perhaps, ``scores`` (K,) and ``masks``, bool
                (K, H, W) of its size as it is drawn.
        """
        labels = found.labels.tolist()
        names = [self.classes[label] for label in labels]
        if 'scores' in found:
            scores = found.scores.tolist()
            names = [f'{n} {s:.2f}' for n, s in zip(names, scores, strict=True)]
        colours = [tuple(self.colours[label]) for label in labels]
        if 'masks' in found and len(found):
            self._fill(found.masks, colours)
        self.outline(found.bboxes, colours, names)

    def outline(
        self,
        boxes: Any,
        colours: Sequence[Colour],
        names: Sequence[str] = (),
        line_style: str = '-',
    ) -> None:
        """Draw boxes.

        Args:
            boxes (Tensor | HorizontalBoxes): xyxy, shape (K, 4).
            colours (Sequence[Colour]): One a box.
            names (Sequence[str]): None, or one a box, above it.
            line_style (str): ``-`` or, of dashes, ``--``.
        """
        corners = torch.as_tensor(getattr(boxes, 'tensor', boxes)).float() * self.zoom
        shown = corners.isfinite().all(1).tolist()
        width = round(2 * self.thickness)
        for box, colour, finite in zip(corners.tolist(), colours, shown, strict=True):
            if not finite:
                continue
            x1, y1, x2, y2 = box
            low, high = (min(x1, x2), min(y1, y2)), (max(x1, x2), max(y1, y2))
            if line_style == '-':
                self.pen.rectangle([low, high], outline=tuple(colour), width=width)
            else:
                self._dash(low, high, colour, width)
        for box, name, colour in zip(corners.tolist(), names, colours, strict=False):
            if np.isfinite(box).all():
                self._write(box[:2], name, colour)

    def picture(self) -> np.ndarray:
        """Return what is drawn, RGB uint8, shape (zoom * H, zoom * W, 3)."""
        return np.asarray(self.image)

    def _take(self, picture: np.ndarray) -> None:
        self.image = Image.fromarray(np.ascontiguousarray(picture))
        self.pen = ImageDraw.Draw(self.image)

    def _fill(self, masks: Any, colours: Sequence[Colour]) -> None:
        """Lay colours over masks, bool (K, H, W)."""
        pixels = np.array(self.image)
        for mask, colour in zip(np.asarray(masks), colours, strict=True):
            paint = (1 - TRANSPARENT) * np.array(colour, np.float32)
            pixels[mask] = TRANSPARENT * pixels[mask] + paint
        self._take(pixels)

    def _dash(
        self,
        low: tuple[float, float],
        high: tuple[float, float],
        colour: Colour,
        width: int,
    ) -> None:
        """Draw a box of dashes."""
        corners = np.array([low, (high[0], low[1]), high, (low[0], high[1]), low])
        for start, end in pairwise(corners):
            length = float(np.linalg.norm(end - start))
            step = DASH * self.thickness / max(length, 1e-6)
            for place in np.arange(0, 1, 2 * step):
                ends = [
                    start + (end - start) * min(p, 1) for p in (place, place + step)
                ]
                line = [tuple(one) for one in ends]
                self.pen.line(line, fill=tuple(colour), width=width)

    def _write(self, corner: Sequence[float], name: str, colour: Colour) -> None:
        """Write a name above a corner, white on the colour, inside the picture."""
        size = round(LETTERS * self.thickness)
        font = ImageFont.truetype(str(self.font), size)
        room = size * 5 / 4
        width = font.getlength(name)
        x = min(max(corner[0], 0), max(self.image.width - width, 0))
        y = min(max(corner[1] - room, 0), max(self.image.height - room, 0))
        self.pen.rectangle([x, y, x + width, y + room], fill=tuple(colour))
        self.pen.text((x, y), name, fill='white', font=font)
