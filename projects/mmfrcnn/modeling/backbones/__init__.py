"""Backbones of torchvision and timm."""

from mmfrcnn.modeling.backbones.timm_backbone import TimmBackbone
from mmfrcnn.modeling.backbones.torchvision_backbone import TorchvisionBackbone

__all__ = ['TimmBackbone', 'TorchvisionBackbone']
