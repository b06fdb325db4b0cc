"""Boxes: xyxy, float32, in pixels of the network's input unless a name says otherwise.

A box ``(x1, y1, x2, y2)`` covers ``x1 <= x < x2`` and ``y1 <= y < y2``: its width is
``x2 - x1``, without the "+ 1" of the first R-CNN codes.
"""

from .iou import pairwise_iou
from .loss import positive_box_loss
from .nms import grouped_nms
from .padding import PaddedInstances, image_sizes, pad_instances, scale_factors

__all__ = [
    'PaddedInstances',
    'grouped_nms',
    'image_sizes',
    'pad_instances',
    'pairwise_iou',
    'positive_box_loss',
    'scale_factors',
]
