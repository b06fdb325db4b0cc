"""Backbones beyond mmdet's own."""

from __future__ import annotations

from mmfrcnn.backbones.torchvision_backbone import TorchvisionBackbone

__all__ = ['TorchvisionBackbone']
