"""Backbones of torchvision."""

from mmfrcnn.modeling.backbones.torchvision_backbone import TorchvisionBackbone

__all__ = ['TorchvisionBackbone']
