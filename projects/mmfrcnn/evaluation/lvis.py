"""LVIS's metric on today's numpy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from mmdet.evaluation import LVISMetric
from mmdet.registry import METRICS


@METRICS.register_module()
class LvisMetric(LVISMetric):
    """mmdet's `LVISMetric` (its arguments), where the lvis package is older than numpy.

    lvis 0.5.3, the last release, asks for ``np.float``, which numpy 1.24 dropped; it is
    there while the figures are computed.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute as mmdet does."""
        with numpy_float():
            return super().compute_metrics(results)


@contextmanager
def numpy_float() -> Iterator[None]:
    """Give numpy its former name of Python's ``float`` for a while."""
    absent = 'float' not in vars(np)
    if absent:
        np.float = float  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if absent:
            del np.float  # type: ignore[attr-defined]
