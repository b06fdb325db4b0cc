"""The sampled candidates of a batch.

Shapes: N images, K sample slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Sample:
    """The sampled candidates of a batch in K slots an image, positives first.

    Attributes:
        indices (Tensor): Candidate in each slot, int64, shape (N, K).
        positive (Tensor): Slots that hold a positive, bool, shape (N, K).
        valid (Tensor): Slots that hold a sample at all, bool, shape (N, K).
    """

    indices: Tensor
    positive: Tensor
    valid: Tensor
