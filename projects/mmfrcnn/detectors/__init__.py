"""Detectors: the order in which the parts see the data."""

from .faster_rcnn import BatchedFasterRCNN

__all__ = ['BatchedFasterRCNN']
