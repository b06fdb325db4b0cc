"""Matching boxes with ground truth: assignment by IoU, then sampling of a fixed number.

Both stages use the same two steps: the RPN on anchors, the second stage on proposals.
"""

from .assigner import AnchorAssigner, Assignment
from .sampler import BalancedSampler, Sample, forget_draws, image_keys
from .stock import assign_batch, sample_batch

__all__ = [
    'AnchorAssigner',
    'Assignment',
    'BalancedSampler',
    'Sample',
    'assign_batch',
    'forget_draws',
    'image_keys',
    'sample_batch',
]
