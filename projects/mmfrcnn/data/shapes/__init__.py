"""A small but real detection problem that needs no download: drawn shapes."""

from mmfrcnn.data.shapes.dataset import ShapesDataset
from mmfrcnn.data.shapes.generate import make_shapes
from mmfrcnn.data.shapes.outlines import CLASSES

__all__ = ['CLASSES', 'ShapesDataset', 'make_shapes']
