"""Colours, textures and the camera's faults: from a layout to a picture."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from mmfrcnn.data.shapes import outlines
from mmfrcnn.data.shapes.layout import HEIGHT, WIDTH, Layer

TYPICAL_SHARE = 0.8
"""Share of the objects of about the hue of their class; the others have any colour."""

_HUE_SPREAD = 0.05  # standard deviation, of the whole circle


def paint(layers: list[Layer], rng: np.random.Generator) -> np.ndarray:
    """Paint a layout over a textured background and photograph it.

    Args:
        layers (list[Layer]): From back to front.
        rng (np.random.Generator): Source of the colours and textures.

    Returns:
        np.ndarray: (HEIGHT, WIDTH, 3) uint8, BGR.
    """
    picture = _background(rng)
    for layer in layers:
        for loops in layer.parts:
            _paint_part(picture, loops, layer.category, rng)
    return _photograph(picture, rng)


def _paint_part(
    picture: np.ndarray,
    loops: list[np.ndarray],
    category: int | None,
    rng: np.random.Generator,
) -> None:
    """Blend one filled outline into the picture (H, W, 3 float32), in place."""
    low = np.maximum(np.floor(loops[0].min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(loops[0].max(0)).astype(int) + 2, (WIDTH, HEIGHT))
    if (high <= low).any():
        return
    patch = picture[low[1] : high[1], low[0] : high[0]]
    height, width = patch.shape[:2]
    loops = [loop - low for loop in loops]
    coverage = outlines.fill(loops, width, height)[..., None] / np.float32(255)

    behind = patch.mean((0, 1))
    surface = _surface(_contrasting_color(behind, category, rng), width, height, rng)
    if rng.random() < 0.25:
        color = tuple(float(c) for c in rng.uniform(0, 255, 3))
        outlines.draw_border(surface, loops, color, int(rng.integers(2, 7)))
    patch += (surface - patch) * coverage


def _contrasting_color(
    behind: np.ndarray, category: int | None, rng: np.random.Generator
) -> np.ndarray:
    """A colour that differs from what is behind, sometimes only just."""
    typical = category is not None and rng.random() < TYPICAL_SHARE
    distance = rng.uniform(80, 200)
    for _ in range(20):
        color = _typical_color(category, rng) if typical else rng.uniform(0, 255, 3)
        if np.linalg.norm(color - behind) >= distance:
            break
    return color


def _typical_color(category: int, rng: np.random.Generator) -> np.ndarray:
    """A colour about the hue of a class, BGR, (3,) in [0, 255]."""
    hue = category / len(outlines.CLASSES) + rng.normal(0, _HUE_SPREAD)
    red_green_blue = colorsys.hsv_to_rgb(
        hue % 1, rng.uniform(0.5, 1), rng.uniform(0.4, 1)
    )
    return 255 * np.array(red_green_blue[::-1])


def _surface(
    color: np.ndarray, width: int, height: int, rng: np.random.Generator
) -> np.ndarray:
    """A plain, shaded, striped or mottled patch, (height, width, 3) float32."""
    kind = rng.choice(
        ('plain', 'shaded', 'striped', 'mottled'), p=(0.6, 0.3, 0.05, 0.05)
    )
    if kind == 'plain':
        weight = np.zeros((height, width), np.float32)
    elif kind == 'shaded':
        weight = _ramp(width, height, rng)
    elif kind == 'striped':
        weight = _stripes(width, height, rng)
    else:
        weight = _clouds(width, height, rng)
    other = color + rng.uniform(-50, 50, 3)
    return _blend(color, other, weight)


def _background(rng: np.random.Generator) -> np.ndarray:
    """Two colours mixed by one texture, mottled by a finer one."""
    textures = (_clouds, _ramp, _stripes, _tiles)
    texture = textures[rng.integers(len(textures))]
    first = rng.uniform(20, 235, 3)
    second = first + rng.uniform(-45, 45, 3)
    picture = _blend(first, second, texture(WIDTH, HEIGHT, rng))
    grain = _clouds(WIDTH, HEIGHT, rng)[..., None] - np.float32(0.5)
    return picture + grain * np.float32(rng.uniform(5, 30))


def _photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uneven light, blur and sensor noise, then eight bits."""
    light = 1 + (_ramp(WIDTH, HEIGHT, rng) - 0.5) * rng.uniform(0, 0.6)
    picture = picture * light[..., None].astype(np.float32)
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.3))
    noise = rng.standard_normal(picture.shape, np.float32)
    picture = picture + noise * np.float32(rng.uniform(1, 9))
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _blend(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    first, second = first.astype(np.float32), second.astype(np.float32)
    return first + (second - first) * weight[..., None]


def _clouds(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of three octaves, (height, width) float32 in [0, 1]."""
    cell = rng.uniform(12, 80)
    total = np.zeros((height, width), np.float32)
    for octave in range(3):
        rows = int(height / cell) + 2
        columns = int(width / cell) + 2
        grid = rng.random((rows, columns), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / (
            2**octave
        )
        cell = max(cell / 2.5, 2)
    return np.clip(total / 1.75, 0, 1)


def _ramp(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A linear gradient in a random direction, (height, width) float32 in [0, 1]."""
    position = _along_random_axis(width, height, rng)
    return (position - position.min()) / max(float(np.ptp(position)), 1e-6)


def _stripes(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Waves in a random direction, soft or hard, (height, width) float32 in [0, 1]."""
    period = rng.uniform(4, 40)
    wave = np.sin(_along_random_axis(width, height, rng) * (2 * np.pi / period))
    return np.clip(0.5 + wave * rng.uniform(0.5, 4), 0, 1).astype(np.float32)


def _tiles(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Rectangles of random shades, (height, width) float32 in [0, 1]."""
    cell = rng.uniform(16, 90)
    shape = (int(height / cell) + 1, int(width / cell) + 1)
    shades = rng.random(shape, np.float32) * np.float32(0.6)
    return cv2.resize(shades, (width, height), interpolation=cv2.INTER_NEAREST)


def _along_random_axis(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y[:, None]
