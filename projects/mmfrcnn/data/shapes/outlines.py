"""Outlines of the drawn shapes: what is an object, and what is only clutter.

A *loop* is a closed polygon, (K, 2) float64 (x, y) in pixels. An outline is a list of
loops filled by the even-odd rule, so a second loop inside the first is a hole.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

CLASSES = (
    'circle',
    'ring',
    'square',
    'triangle',
    'star',
    'cross',
)
"""Names of the object classes; COCO category ids are the index here plus one."""

_CAN_BE_HOLLOW = ('square', 'triangle')
_SUBPIXEL_BITS = 4


def object_outline(
    name: str, rng: np.random.Generator, *, centre: np.ndarray, size: float
) -> list[np.ndarray]:
    """Draw the outline of one object in a random pose.

    The shape is turned by up to 30 degrees and stretched by up to a quarter along a
    random axis. Squares and triangles are sometimes hollow; a circle never is, for that
    is a ring.

    Args:
        name (str): One of :data:`CLASSES`.
        rng (np.random.Generator): Source of the pose.
        centre (np.ndarray): Middle of the bounding box, (2,) (x, y), pixels.
        size (float): Longer side of the bounding box, pixels.

    Returns:
        list[np.ndarray]: One loop, or two where the shape has a hole.
    """
    loop = _UNIT_LOOPS[name]()
    loops = [loop]
    if name == 'ring':
        loops.append(loop * rng.uniform(0.45, 0.68))
    elif name in _CAN_BE_HOLLOW and rng.random() < 0.1:
        loops.append(loop * rng.uniform(0.5, 0.7))
    return _place(loops, rng, turn=np.pi / 6, stretch=1.25, centre=centre, size=size)


def clutter_outline(
    rng: np.random.Generator, *, centre: np.ndarray, size: float
) -> list[np.ndarray]:
    """Draw something that is no object: a bar, a wire or a crescent.

    Args:
        rng (np.random.Generator): Source of the kind and the pose.
        centre (np.ndarray): Middle of the bounding box, (2,) (x, y), pixels.
        size (float): Longer side of the bounding box, pixels.

    Returns:
        list[np.ndarray]: One loop.
    """
    kinds = (_bar, _wire, _crescent)
    loop = kinds[rng.integers(len(kinds))](rng)
    return _place([loop], rng, turn=np.pi, stretch=1.0, centre=centre, size=size)


def fill(loops: list[np.ndarray], width: int, height: int) -> np.ndarray:
    """Rasterise an outline with anti-aliased edges.

    Args:
        loops (list[np.ndarray]): The outline; may lie partly outside the picture.
        width (int): Picture width, pixels.
        height (int): Picture height, pixels.

    Returns:
        np.ndarray: Coverage, (height, width) uint8, 255 where fully covered.
    """
    coverage = np.zeros((height, width), np.uint8)
    points = [to_fixed_point(loop) for loop in loops]
    cv2.fillPoly(coverage, points, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return coverage


def draw_border(
    picture: np.ndarray, loops: list[np.ndarray], color: tuple, thickness: int
) -> None:
    """Stroke an outline onto a (H, W, 3) picture, in place."""
    points = [to_fixed_point(loop) for loop in loops]
    cv2.polylines(picture, points, True, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def to_fixed_point(loop: np.ndarray) -> np.ndarray:
    """Round a loop to OpenCV's fixed-point integers, sixteenths of a pixel.

    Rasterising from integers makes the masks the same on every machine, whatever the
    last digit of its sine.
    """
    return np.round(loop * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def full_area(loops: list[np.ndarray]) -> int:
    """Count the pixels an outline covers where nothing cuts it off."""
    low, high = loops[0].min(0), loops[0].max(0)
    width, height = np.ceil(high - low).astype(int) + 4
    moved = [loop - np.floor(low) + 1 for loop in loops]
    return int((fill(moved, width, height) > 127).sum())


def _place(
    loops: list[np.ndarray],
    rng: np.random.Generator,
    *,
    turn: float,
    stretch: float,
    centre: np.ndarray,
    size: float,
) -> list[np.ndarray]:
    """Stretch, turn by up to ``turn``, scale to ``size`` and move to ``centre``."""
    ratio = stretch ** rng.uniform(-0.5, 0.5)
    axis = rng.uniform(0, 2 * np.pi)
    pose = (
        _rotation(rng.uniform(-turn, turn))
        @ _rotation(axis)
        @ np.diag([ratio, 1 / ratio])
        @ _rotation(-axis)
    )
    loops = [loop @ pose.T for loop in loops]
    low, high = loops[0].min(0), loops[0].max(0)
    scale = (size - 1) / (high - low).max()
    return [(loop - (low + high) / 2) * scale + centre for loop in loops]


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _regular(corners: int) -> np.ndarray:
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star() -> np.ndarray:
    loop = _regular(10)
    loop[1::2] *= 0.45
    return loop


def _cross() -> np.ndarray:
    arm = 0.36
    quarter = np.array([[arm, arm], [arm, 1.0], [-arm, 1.0]])
    return np.concatenate([quarter @ _rotation(k * np.pi / 2).T for k in range(4)])


_UNIT_LOOPS: dict[str, Callable[[], np.ndarray]] = {
    'circle': lambda: _regular(64),
    'ring': lambda: _regular(64),
    'square': lambda: _regular(4),
    'triangle': lambda: _regular(3),
    'star': _star,
    'cross': _cross,
}


def _bar(rng: np.random.Generator) -> np.ndarray:
    half = rng.uniform(0.06, 0.3)
    return np.array([[-1, -half], [1, -half], [1, half], [-1, half]])


def _wire(rng: np.random.Generator) -> np.ndarray:
    """A thin band along a quadratic Bezier curve."""
    start, bend, end = rng.uniform(-1, 1, (3, 2)) + np.array([[-1, 0], [0, 0], [1, 0]])
    t = np.linspace(0, 1, 24)[:, None]
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    tangent = np.gradient(curve, axis=0)
    normal = tangent[:, ::-1] * [-1, 1]
    normal *= rng.uniform(0.02, 0.06) / np.linalg.norm(tangent, axis=1, keepdims=True)
    return np.concatenate([curve + normal, (curve - normal)[::-1]])


def _crescent(rng: np.random.Generator) -> np.ndarray:
    angles = np.linspace(-np.pi / 2, np.pi / 2, 24)
    thin = rng.uniform(0.2, 0.6)
    outer = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.concatenate([outer, (outer * [thin, 1])[::-1]])
