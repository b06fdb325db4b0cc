"""Whether what is extreme is more than a smooth tail would have.

Where labels are healthy, boxes that fit ever worse, or objects that overlap ever more,
are ever fewer. Errors are a second heap, farther out. The false discovery rate
(Benjamini & Hochberg 1995) with a null measured on the data itself (Efron 2004): here a
tail that goes on falling as it does between two bins.
"""

from __future__ import annotations

import numpy as np

SLOWEST = 0.95
"""A tail that hardly falls tells nothing, and nothing is then in excess."""


def excess(values: np.ndarray, low: float, step: float) -> np.ndarray:
    """Return the share that is too much, of those that are at least as large as each.

    Args:
        values (np.ndarray): Larger is more extreme, shape (N,).
        low (float): Where the first of the two bins begins.
        step (float): How wide each is.

    Returns:
        np.ndarray: 0 below the end of the bins, and up to 1, never falling with the
        value, float64, shape (N,).
    """
    beyond = low + 2 * step
    first = np.count_nonzero((values >= low) & (values < low + step))
    second = np.count_nonzero((values >= low + step) & (values < beyond))
    # Empty bins say that few are expected, not that none is: as if 6 had been in the
    # first and 2 of them in the second.
    fall = min((second + 2) / (first + 6), SLOWEST)
    expected = (second + 0.5) * fall ** ((values - low) / step - 1) / (1 - fall)
    ascending = np.sort(values)
    observed = len(values) - np.searchsorted(ascending, values, 'left')
    share = np.where(values >= beyond, 1 - expected / observed, 0).clip(0, 1)
    order = np.argsort(values, kind='stable')
    share[order] = np.maximum.accumulate(share[order])
    return share
