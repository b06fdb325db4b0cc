"""A small but real detection problem that needs no download: drawn shapes."""

from .dataset import ShapesDataset
from .generate import make_shapes
from .outlines import CLASSES

__all__ = ['CLASSES', 'ShapesDataset', 'make_shapes']
