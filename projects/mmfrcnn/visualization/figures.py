"""Diagrams of a training: its curves, and the boxes it learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Curve: TypeAlias = tuple[list[int], list[float]]
"""Iterations, and a value at each."""
NUM_CLASSES = 30
"""Classes that have a bar of their own, the most frequent ones."""
SMALL, LARGE = 32, 96
"""Sides of squares below which COCO calls an object small, and from which on large."""


def draw_curves(
    losses: Mapping[str, Curve], metrics: Mapping[str, Curve]
) -> np.ndarray:
    """Draw losses and metrics over iterations, side by side.

    Args:
        losses (Mapping[str, Curve]): By name; their sum, ``loss``, is drawn bold.
        metrics (Mapping[str, Curve]): By name.

    Returns:
        np.ndarray: RGB uint8, shape (H, W, 3).
    """
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    left, right = figure.subplots(1, 2)
    for axes, curves, title in (
        (left, losses, 'training losses'),
        (right, metrics, 'metrics of validation'),
    ):
        for name, (iterations, values) in curves.items():
            marker = '.' if len(iterations) < 50 else ''
            width = 2.2 if name == 'loss' else 1.2
            axes.plot(iterations, values, marker=marker, linewidth=width, label=name)
        axes.set(title=title, xlabel='iteration')
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        if curves:
            axes.legend(fontsize='small')
    return _pixels(figure)


def draw_labels(
    counts: Mapping[str, int], sizes: np.ndarray, source: str
) -> np.ndarray:
    """Draw how many boxes there are of each class, and how large boxes are.

    Args:
        counts (Mapping[str, int]): Boxes by class name.
        sizes (np.ndarray): Width and height of boxes in pixels, shape (B, 2).
        source (str): Of which images; the title.

    Returns:
        np.ndarray: RGB uint8, shape (H, W, 3).
    """
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    shown, rest = ranked[:NUM_CLASSES], ranked[NUM_CLASSES:]
    names = [name for name, _ in shown] + [f'{len(rest)} more'] * bool(rest)
    heights = [n for _, n in shown] + [sum(n for _, n in rest)] * bool(rest)
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    figure.suptitle(source)
    left, right = figure.subplots(1, 2)
    places = range(len(names))
    left.bar(places, heights, color='tab:blue')
    left.set_xticks(places, names, rotation=90 if len(names) > 8 else 0)
    left.set(title=f'{sum(counts.values())} boxes by class')
    sides = np.sqrt(np.maximum(sizes.prod(axis=1), 1))
    ends = min(sides.min(initial=SMALL), SMALL), max(sides.max(initial=LARGE), LARGE)
    bins = np.geomspace(0.8 * ends[0], 1.2 * ends[1], 40)
    right.hist(sides, bins, color='tab:blue')
    right.set_xscale('log')
    for side in (SMALL, LARGE):
        right.axvline(side, color='tab:red', linewidth=1)
    small, large = (sides < SMALL).mean(), (sides >= LARGE).mean()
    if len(sides):
        right.set_title(
            f"boxes by size: {small:.0%} small, {large:.0%} large in COCO's terms"
        )
    right.set_xlabel('square root of the area, pixels of the image')
    return _pixels(figure)


def _pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
