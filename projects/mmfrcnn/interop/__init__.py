"""Weights from torchvision, detectron2 and mmdet, and what repeats their arithmetic."""

from .anchors import TorchvisionAnchorGenerator
from .linear import LinearWithUnusedClasses
from .resize import TorchvisionResize

__all__ = [
    'LinearWithUnusedClasses',
    'TorchvisionAnchorGenerator',
    'TorchvisionResize',
]
