"""Data sets from one annotation format into another, nothing lost in silence."""

from __future__ import annotations

from mmfrcnn.data.conversion.convert import convert
from mmfrcnn.data.conversion.read import read_splits
from mmfrcnn.data.formats.registry import LAYOUTS

FORMATS = tuple(LAYOUTS)

__all__ = ['FORMATS', 'convert', 'read_splits']
