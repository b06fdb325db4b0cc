"""How often detections of a class and a score are right, measured on an evaluation.

Shapes: N detections.
"""

from __future__ import annotations

import numpy as np

PRIOR = 10
"""All classes together count as much as so many detections of the class itself."""


def trust(scores: np.ndarray, labels: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the share that is right among detections of a class and of like scores.

    It never falls with the score. Classes of few detections lean on all the others.

    Args:
        scores (np.ndarray): Shape (N,).
        labels (np.ndarray): Classes, int, shape (N,).
        right (np.ndarray): Bool, shape (N,).

    Returns:
        np.ndarray: Shares of 0 to 1, float64, shape (N,).
    """
    shares = np.zeros(len(scores))
    pooled, _ = isotonic(scores, right)
    for own in rows_of_each(labels):
        mean, count = isotonic(scores[own], right[own])
        shares[own] = leaning(mean, count, pooled[own])
    return shares


def leaning(
    own: np.ndarray, count: np.ndarray | int, others: np.ndarray | float
) -> np.ndarray:
    """Draw a mean of ``count`` values towards that of all classes."""
    return (own * count + others * PRIOR) / (count + PRIOR)


def isotonic(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the share that is right so that it never falls with the score.

    Neighbours that violate the order are pooled (Ayer et al. 1955; of classifiers,
    Zadrozny & Elkan 2002).

    Args:
        scores (np.ndarray): Shape (N,).
        right (np.ndarray): Bool, shape (N,).

    Returns:
        tuple: The share of the block that each is in, float64, and how many are in it,
        int64, shape (N,) each.
    """
    _, place, each = np.unique(scores, return_inverse=True, return_counts=True)
    hits = np.bincount(place, weights=right, minlength=len(each))
    blocks: list[tuple[float, int, int]] = []  # right, detections, different scores
    for hit, number in zip(hits.tolist(), each.tolist(), strict=True):
        block = (hit, number, 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    sums = np.array([block[0] for block in blocks])
    counts, different = np.array([block[1:] for block in blocks], int).reshape(-1, 2).T
    of_each = np.repeat(np.arange(len(blocks)), different)[place]
    return (sums / counts)[of_each], counts[of_each]


def rows_of_each(groups: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each group that there is, smallest first, of (N,) groups."""
    order = np.argsort(groups, kind='stable')
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    return [rows for rows in np.split(order, starts) if len(rows)]
