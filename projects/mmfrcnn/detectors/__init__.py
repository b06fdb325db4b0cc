"""Detectors: the order in which the parts see the data."""

from .alternating import AlternatingFasterRCNN
from .faster_rcnn import BatchedFasterRCNN

__all__ = ['AlternatingFasterRCNN', 'BatchedFasterRCNN']
