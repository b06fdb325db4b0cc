"""Weights from torchvision, detectron2 and mmdet, and what repeats their arithmetic."""

from mmfrcnn.weights.anchors import TorchvisionAnchorGenerator
from mmfrcnn.weights.linear import LinearWithUnusedClasses
from mmfrcnn.weights.resize import TorchvisionResize
from mmfrcnn.weights.timm_hub import load_from_timm
from mmfrcnn.weights.wheels import load_from_pip

__all__ = [
    'LinearWithUnusedClasses',
    'TorchvisionAnchorGenerator',
    'TorchvisionResize',
    'load_from_pip',
    'load_from_timm',
]
