"""Weights from torchvision, detectron2 and mmdet, and what repeats their arithmetic."""

from mmfrcnn.weights.anchors import TorchvisionAnchorGenerator
from mmfrcnn.weights.linear import LinearWithUnusedClasses
from mmfrcnn.weights.resize import TorchvisionResize

__all__ = [
    'LinearWithUnusedClasses',
    'TorchvisionAnchorGenerator',
    'TorchvisionResize',
]
