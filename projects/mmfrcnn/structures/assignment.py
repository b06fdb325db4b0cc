"""What each prior of a batch was matched with.

Shapes: N images, S priors (anchors or proposals).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

IGNORED, NEGATIVE, POSITIVE = -1, 0, 1


@dataclass
class Assignment:
    """What each prior of a batch was matched with.

    Attributes:
        match_labels (Tensor): -1 ignored, 0 negative, 1 positive; int8, shape (N, S).
        matched_idxs (Tensor): Index of the ground truth of a positive (0 for all
            others), int64, shape (N, S).
        max_iou (Tensor): Largest IoU with any ground truth, -1 where excluded, float32,
            shape (N, S).
    """

    match_labels: Tensor
    matched_idxs: Tensor
    max_iou: Tensor
