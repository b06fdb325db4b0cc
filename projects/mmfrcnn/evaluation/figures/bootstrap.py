"""How much figures would vary with other images: the bootstrap, by percentiles.

Images are drawn anew with replacement, as many as there are, and the figures computed
of them; the middle 95% of what comes out is the interval (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 13), moved so that its draws' mean is the
figure itself. Not moved, it lies too high, with many classes wholly above the figure:
AP takes at each recall the best precision from there on, and of images that are there
several times, chance makes that larger. So it is about other sets of as many images,
whose AP chance raises as much; the AP of endlessly many is lower.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmfrcnn.evaluation.figures.average_precision import AveragePrecision

SAMPLES = 1000
MIDDLE = (2.5, 97.5)
"""Percentiles that bound 95%."""


def resampled(
    runs: Sequence[AveragePrecision], seed: int, samples: int = SAMPLES
) -> np.ndarray:
    """Return the means of runs on the same images, drawn anew.

    Args:
        runs (Sequence[AveragePrecision]): R evaluations; each sees the same draws.
        seed (int): Of the draws.
        samples (int): How often to draw.

    Returns:
        np.ndarray: `average_precision.MEANS`, float64, shape (samples, R, 4); NaN where
        no object was drawn.
    """
    draws, images = np.random.default_rng(seed), runs[0].images
    means = np.full((samples, len(runs), 4), np.nan)
    if not images:
        return means
    for one in means:
        drawn = draws.integers(images, size=images)
        weights = np.bincount(drawn, minlength=images)
        one[:] = [run.means(weights) for run in runs]
    return means


def centred(draws: np.ndarray, figure: np.ndarray | float) -> np.ndarray:
    """Return draws (samples, ...) of figures (...), their mean moved to the figure."""
    known = ~np.isnan(draws)
    mean = np.where(known, draws, 0).sum(0) / np.maximum(known.sum(0), 1)
    return draws - mean + figure


def interval(values: np.ndarray, images: int) -> dict[str, float | None]:
    """Return ``low`` and ``high`` of the middle 95%, None without any variation.

    Args:
        values (np.ndarray): A figure of each draw, float64, NaN where it has none.
        images (int): How many were drawn from; of one, every draw is the same.
    """
    known = values[~np.isnan(values)]
    if images < 2 or not len(known):
        return {'low': None, 'high': None}
    low, high = np.percentile(known, MIDDLE)
    return {'low': float(low), 'high': float(high)}
