"""Boxes, names and masks on pictures: what predict, browse and the panels share.

mmengine's visualizer draws; here it is decided what is drawn, and how large.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.visualization.palette import get_palette
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer
from torch import Tensor

Colour = tuple[int, int, int]  # RGB
COMMON_WIDTH = 640
"""Lines and letters grow with pictures that are wider than this, in pixels."""


class Painter:
    """Draws on one picture after another.

    Args:
        classes (Sequence[str]): Class names, by label.
        palette (Any): RGB colours, by label, or the name of a palette of mmdet's.
    """

    def __init__(self, classes: Sequence[str], palette: Any = 'random') -> None:
        self.classes = tuple(classes)
        self.colours = get_palette(palette, len(self.classes))
        self.visualizer = Visualizer()

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
        self.visualizer.set_image(large if zoom > 1 else picture)
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
            self.visualizer.draw_binary_masks(found.masks, colors=colours)
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
            line_style (str): Matplotlib's.
        """
        corners = torch.as_tensor(getattr(boxes, 'tensor', boxes)).float() * self.zoom
        if not len(corners):
            return
        with warnings.catch_warnings():  # a box may touch the border
            warnings.filterwarnings('ignore', '.*out of bounds')
            self.visualizer.draw_bboxes(
                corners,
                edge_colors=list(colours),
                line_styles=line_style,
                line_widths=2 * self.thickness,
            )
        if names:
            self._write(corners[:, :2].clone(), names, colours)

    def picture(self) -> np.ndarray:
        """Return what is drawn, RGB uint8, shape (zoom * H, zoom * W, 3)."""
        return self.visualizer.get_image()

    def _write(
        self, places: Tensor, names: Sequence[str], colours: Sequence[Colour]
    ) -> None:
        """Write names above places (K, 2), inside the picture."""
        places[:, 1].clamp_(min=16 * self.thickness)
        self.visualizer.draw_texts(
            list(names),
            places,
            font_sizes=11 * self.thickness,
            colors='white',
            vertical_alignments='bottom',
            bboxes=[
                {
                    'facecolor': tuple(channel / 255 for channel in colour),
                    'alpha': 0.8,
                    'pad': 0.7,
                    'edgecolor': 'none',
                }
                for colour in colours
            ],
        )
