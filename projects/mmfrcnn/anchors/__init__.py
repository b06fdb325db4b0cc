"""Anchors: the reference boxes tiled over the feature pyramid."""

from .grid import AnchorGrid

__all__ = ['AnchorGrid']
