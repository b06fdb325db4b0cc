"""The second stage: features of each region, its class and its refined box."""

from .detections import select_detections
from .extractor import PyramidRoIExtractor
from .head import BatchedRoIHead
from .vgg_head import VGGBBoxHead

__all__ = [
    'BatchedRoIHead',
    'PyramidRoIExtractor',
    'VGGBBoxHead',
    'select_detections',
]
