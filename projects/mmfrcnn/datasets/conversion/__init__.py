"""Data sets from one annotation format into another, nothing lost in silence."""

from __future__ import annotations

from mmfrcnn.datasets.conversion.convert import convert
from mmfrcnn.datasets.conversion.read import Split, read_splits
from mmfrcnn.datasets.conversion.write import WRITERS

FORMATS = tuple(WRITERS)

__all__ = ['FORMATS', 'Split', 'convert', 'read_splits']
