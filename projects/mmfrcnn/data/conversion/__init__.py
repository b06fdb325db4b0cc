"""Data sets from one annotation format into another, nothing lost in silence."""

from __future__ import annotations

from mmfrcnn.data.conversion.convert import convert
from mmfrcnn.data.conversion.read import Split, read_splits
from mmfrcnn.data.conversion.write import WRITERS

FORMATS = tuple(WRITERS)

__all__ = ['FORMATS', 'Split', 'convert', 'read_splits']
