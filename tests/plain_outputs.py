"""Plain outputs in place of those that take long and that tests of others do not read.

Matplotlib takes a second for the curves and histograms of a run and two for the charts
of a report, yapf half a second for the layout of a config: more than a tiny training.
What they show is tested by the files that look at them, which `conftest.py` names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

FIGURES, NAMES = 'mmfrcnn.training.pictures', ('draw_curves', 'draw_labels')
CHARTS, LAYOUT = 'mmfrcnn.report.charts', 'mmengine.config.config'


def blank(*args: Any) -> np.ndarray:
    """Return a picture with nothing on it."""
    return np.zeros((8, 8, 3), np.uint8)


def no_address(figure: Any) -> str:
    """Return the address of an empty file in place of a chart's."""
    return 'data:,'


def as_it_is(text: str, **options: Any) -> tuple[str, bool]:
    """Return a config's text as yapf would, not laid out: it says the same."""
    return text, False


def make_plain(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Draw blanks and write configs as they come, in what has been imported so far."""
    plain = [(FIGURES, name, blank) for name in NAMES]
    plain += [(CHARTS, '_address', no_address), (LAYOUT, 'FormatCode', as_it_is)]
    for module, name, instead in plain:
        if module in sys.modules:
            replace(sys.modules[module], name, instead)
