"""Our detector measured beside its peers: see ``tools/benchmark.py``.

A *contender* is a detector of one framework; all get the same images, boxes, weights
(where names can be matched), precision and device, and take turns in one process.
"""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)
