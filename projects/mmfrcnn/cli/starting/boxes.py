"""The scale of the network's input and its anchors, from the sizes of the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmfrcnn.data.formats.pictures import Picture, why_left_out
from mmfrcnn.modeling.nearest_anchor import nearest_iou

STRIDES = (4, 8, 16, 32, 64)
SMALLEST_SIDE = 8
"""Pixels of the network's input, two cells of the finest level, an object needs."""
COMFORTABLE = 16
"""Pixels, the square root of a box's area, that nineteen of twenty objects need."""
LIMITS = {'cpu': (400, 300, 800), 'cuda': (1333, 800, 2000)}
"""The network's input: the longer and shorter side that it fits into where boxes are
large enough; and the longer side at most."""
ENLARGED = 4.0
"""Times that pictures are enlarged at most; no more is in them."""
SCALES = (8, 4, 2)
RATIOS = ((0.5, 1.0, 2.0), (0.25, 0.5, 1.0, 2.0, 4.0))
"""Heights over widths of anchors, the usual ones first."""
ENOUGH = 0.02
"""Share of boxes that another set of anchors must reach beside, to be taken."""


@dataclass(frozen=True)
class Sizes:
    """The images and boxes of a data set.

    Attributes:
        images: Width and height of each image, float (N, 2).
        boxes: Usable boxes, xyxy in image pixels, float (G, 4).
        owner: The image of each box, int (G,).
    """

    images: np.ndarray
    boxes: np.ndarray
    owner: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """Width and height of each box, float (G, 2)."""
        return self.boxes[:, 2:] - self.boxes[:, :2]


def sizes_of(pictures: Sequence[Picture], classes: Sequence[str]) -> Sizes:
    """Collect the sizes of images, and of the boxes that can be trained on."""
    images = np.array([(one.width, one.height) for one in pictures], float)
    found = [
        (index, thing.box)
        for index, one in enumerate(pictures)
        for thing in one.objects
        if not thing.ignored and why_left_out(thing, one, classes) is None
    ]
    boxes = np.array([box for _, box in found], float).reshape(-1, 4)
    owner = np.array([index for index, _ in found], int)
    return Sizes(images.reshape(-1, 2), boxes, owner)


def choose_scale(sizes: Sizes, device: str) -> tuple[tuple[int, int], str]:
    """Choose the scale that images are resized to, and say why.

    Args:
        sizes (Sizes): Of the data set.
        device (str): ``cpu`` or ``cuda``.

    Returns:
        tuple[tuple[int, int], str]: Longer and shorter side in pixels, the reason.
    """
    longer = np.median(sizes.images.max(1))
    shape = np.median(sizes.images.min(1) / sizes.images.max(1))
    area, least = np.sqrt(sizes.sides.prod(1)), sizes.sides.min(1)
    needed = max(
        COMFORTABLE / np.percentile(area, 5), SMALLEST_SIDE / np.percentile(least, 1)
    )
    usual, usual_short, most = LIMITS[device]
    least_side = min(usual, usual_short / shape)
    side = min(max(needed * longer, least_side), most, ENLARGED * longer)
    side = max(round(side / 8) * 8, 8)
    short = max(round(side * shape / 8) * 8, 8)
    small = float((least * side / longer < SMALLEST_SIDE).mean())
    width, height = np.median(sizes.images, 0)
    reason = f'images are {width:g}x{height:g}; '
    reason += (
        f'{small:.1%} of the boxes get narrower than {SMALLEST_SIDE} px'
        if small > 0.0005
        else f'no box gets narrower than {SMALLEST_SIDE} px'
    )
    return (int(side), int(short)), reason


def choose_anchors(
    sizes: Sizes, scale: tuple[int, int]
) -> tuple[int, tuple[float, ...], str]:
    """Choose the scale and ratios of anchors, and say why.

    Of a few sets, the usual one first, a later is taken if more boxes by `ENOUGH` have
    an anchor with an IoU of .5, for which the RPN learns to propose them.

    Args:
        sizes (Sizes): Of the data set.
        scale (tuple[int, int]): Longer and shorter side of the network's input.

    Returns:
        tuple[int, tuple[float, ...], str]: The anchors' scale (times the stride), their
        ratios (height over width), and the reason.
    """
    images = sizes.images[sizes.owner]
    factor = np.minimum(scale[0] / images.max(1), scale[1] / images.min(1))
    boxes = sizes.boxes * factor[:, None]
    sets: list[tuple[int, tuple[float, ...]]] = [
        (one, ratios) for ratios in RATIOS for one in SCALES
    ]
    reached = {one: float((best_iou(boxes, *one) >= 0.5).mean()) for one in sets}
    chosen, usual = sets[0], reached[sets[0]]
    for one in sets:
        if reached[one] > reached[chosen] + ENOUGH:
            chosen = one
    share = reached[chosen]
    reason = f'{share:.1%} of the boxes have an anchor of IoU .5'
    if chosen != sets[0]:
        reason += f', {usual:.1%} with the usual ones'
    return *chosen, reason


def best_iou(boxes: np.ndarray, scale: int, ratios: Sequence[float]) -> np.ndarray:
    """Return the largest IoU of each box with any anchor of a pyramid, float (G,).

    Args:
        boxes (np.ndarray): xyxy in pixels of the network's input, float (G, 4).
        scale (int): Of the anchors, times the stride.
        ratios (Sequence[float]): Heights over widths.
    """
    best = np.zeros(len(boxes))
    for stride in STRIDES:
        half = np.array([(one**-0.5, one**0.5) for one in ratios]) * stride * scale / 2
        base = np.concatenate([-half, half], 1)
        best = np.maximum(best, nearest_iou(boxes, base, (stride, stride)).max(1))
    return best
