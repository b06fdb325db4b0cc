"""Blank pictures in place of curves and histograms, which tests of others do not read.

Matplotlib takes a second for those of a run, half of a tiny training; what they show is
tested in tests/training/test_records.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

MODULE, NAMES = 'mmfrcnn.training.pictures', ('draw_curves', 'draw_labels')


def blank(*args: Any) -> np.ndarray:
    """Return a picture with nothing on it."""
    return np.zeros((8, 8, 3), np.uint8)


def draw_none(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Have trainings draw blanks, if their module is imported."""
    module = sys.modules.get(MODULE)
    for name in NAMES if module else ():
        replace(module, name, blank)
