"""Where things lie in one picture, and the exact visible mask of each.

Layout takes its own random stream, apart from the painting's, and rasterises from
integers: the annotations depend on nothing but the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmfrcnn.data.shapes import outlines

WIDTH, HEIGHT = 320, 240
MIN_SIZE, MAX_SIZE = 12, 160
"""Range of the longer side of every object's visible box, pixels."""

MIN_VISIBLE = 0.6
"""Share of an object's area that must show, inside the picture and unoccluded."""

_MIN_SHORT_SIDE = 6
_MAX_OBJECTS = 12
_EMPTY_SHARE = 0.1
_CROWD_SHARE = 0.1
_TRIES = 20


@dataclass
class Layer:
    """One thing in the picture, in painting order from back to front.

    Attributes:
        category (int | None): Index into ``CLASSES``; None for clutter.
        parts (list[list[np.ndarray]]): Outlines; one, or a crowd's members.
        visible (np.ndarray): Pixels that show, (HEIGHT, WIDTH) bool.
        full_area (int): Pixels it would cover without occlusion and picture edge.
        crowd (bool): Whether it is a cluster annotated as one region.
    """

    category: int | None
    parts: list[list[np.ndarray]]
    visible: np.ndarray
    full_area: int
    crowd: bool = False

    def shows_enough(self, hidden: np.ndarray | None = None) -> bool:
        """Tell whether the layer is fair to annotate once ``hidden`` is covered.

        Args:
            hidden (np.ndarray, optional): Pixels about to be covered, (HEIGHT,
                WIDTH) bool.
        """
        if self.category is None:
            return True
        visible = self.visible if hidden is None else self.visible & ~hidden
        if visible.sum() < MIN_VISIBLE * self.full_area:
            return False
        _, _, width, height = box_of(visible)
        longer, shorter = max(width, height), min(width, height)
        return MIN_SIZE <= longer <= MAX_SIZE and shorter >= _MIN_SHORT_SIDE


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Extents of a mask as COCO's (x, y, width, height), pixels; zeros if empty.

    Args:
        mask (np.ndarray): (H, W) bool.
    """
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return 0, 0, 0, 0
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def random_layout(rng: np.random.Generator) -> list[Layer]:
    """Lay out one picture.

    About one picture in ten holds no object, about one in ten a crowd. Objects
    overlap one another and the picture's edge and clutter covers some of them, but
    whatever would leave an object nearly hidden is placed elsewhere or left out.

    Args:
        rng (np.random.Generator): Source of every choice.

    Returns:
        list[Layer]: From back to front.
    """
    layers: list[Layer] = []
    num_clutter = int(rng.integers(0, 3))
    num_objects = 0
    if rng.random() >= _EMPTY_SHARE:
        num_objects = min(1 + int(rng.poisson(3.5)), _MAX_OBJECTS)
        if rng.random() < _CROWD_SHARE / (1 - _EMPTY_SHARE):
            _try_to_add(layers, lambda: _random_crowd(rng))
    is_object = np.arange(num_objects + num_clutter) < num_objects
    for thing in rng.permutation(is_object):
        make = _random_object if thing else _random_clutter
        _try_to_add(layers, lambda make=make: make(rng))
    return layers


def _try_to_add(layers: list[Layer], make) -> None:
    """Put a new layer in front, unless every try would hide an object too much."""
    for _ in range(_TRIES):
        layer = make()
        if layer.shows_enough() and all(
            below.shows_enough(layer.visible) for below in layers
        ):
            for below in layers:
                below.visible &= ~layer.visible
            layers.append(layer)
            return


def _random_object(rng: np.random.Generator) -> Layer:
    category = int(rng.integers(len(outlines.CLASSES)))
    size = _log_uniform(rng, MIN_SIZE, MAX_SIZE)
    loops = outlines.object_outline(
        outlines.CLASSES[category], rng, centre=_random_point(rng), size=size
    )
    return _layer(category, [loops])


def _random_clutter(rng: np.random.Generator) -> Layer:
    size = _log_uniform(rng, MIN_SIZE, MAX_SIZE)
    return _layer(
        None, [outlines.clutter_outline(rng, centre=_random_point(rng), size=size)]
    )


def _random_crowd(rng: np.random.Generator) -> Layer:
    """A cluster of tiny shapes of one class, each too small to count as an object."""
    category = int(rng.integers(len(outlines.CLASSES)))
    middle, spread = _random_point(rng), rng.uniform(12, 26)
    parts = []
    for _ in range(int(rng.integers(15, 40))):
        offset = rng.uniform(-1, 1, 2) + rng.uniform(-1, 1, 2)
        parts.append(
            outlines.object_outline(
                outlines.CLASSES[category],
                rng,
                centre=middle + offset * spread,
                size=rng.uniform(6, 11),
            )
        )
    layer = _layer(category, parts)
    layer.crowd = True
    layer.full_area = int(layer.visible.sum())
    return layer


def _layer(category: int | None, parts: list[list[np.ndarray]]) -> Layer:
    visible = np.zeros((HEIGHT, WIDTH), bool)
    for loops in parts:
        visible |= outlines.fill(loops, WIDTH, HEIGHT) > 127
    full_area = sum(outlines.full_area(loops) for loops in parts)
    return Layer(category, parts, visible, full_area)


def _random_point(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform((0, 0), (WIDTH, HEIGHT))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())
