"""The regions that a second stage is trained on, with what each should become.

Shapes: N images, K sample slots, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmfrcnn.structures.sample import Sample


@dataclass
class Regions:
    """The sampled regions of a batch in K slots an image, positives first.

    Attributes:
        sample (Sample): Which slots hold a positive, and which a region at all.
        boxes (Tensor): xyxy in input pixels, float32, shape (N, K, 4).
        targets (Tensor): Box of the ground truth of a positive, of no matter for all
            others, float32, shape (N, K, 4).
        labels (Tensor): Its class, C for all others, int64, shape (N, K).
        matched_idxs (Tensor): Its slot among the image's ground truths, 0 for all
            others, int64, shape (N, K).
        given (Tensor): Regions that are a ground truth itself, added to the proposals,
            bool, shape (N, K).
    """

    sample: Sample
    boxes: Tensor
    targets: Tensor
    labels: Tensor
    matched_idxs: Tensor
    given: Tensor
