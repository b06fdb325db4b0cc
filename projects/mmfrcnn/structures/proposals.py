"""The proposals of a batch, best first.

Shapes: N images, P proposal slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.structures.detections import Detections
from mmfrcnn.structures.padded_instances import PaddedInstances, pad_instances


class Proposals(Detections):
    """The proposals of N images in P slots each: detections of one class, an object.

    Args:
        boxes (Tensor): xyxy in input pixels, float32, shape (N, P, 4); zeros in empty
            slots.
        scores (Tensor): Objectness in [0, 1], float32, shape (N, P).
        mask (Tensor): Slots that hold a proposal: the first ones, bool, shape (N, P).
    """

    def __init__(self, boxes: Tensor, scores: Tensor, mask: Tensor) -> None:
        labels = torch.zeros_like(scores, dtype=torch.int64)
        super().__init__(boxes, scores, labels, mask)

    def rescaled(self, scale_factors: Tensor) -> Proposals:
        """Return the same in pixels of the original images.

        Args:
            scale_factors (Tensor): What boxes were scaled by, shape (N, 1, 4).
        """
        return Proposals(self.boxes / scale_factors, self.scores, self.mask)


def padded_proposals(
    proposals: Sequence[InstanceData], device: torch.device
) -> PaddedInstances:
    """Bring proposals of either form, ours or mmdet's list, into slots."""
    if isinstance(proposals, Proposals):
        return PaddedInstances(proposals.boxes, proposals.mask)
    return pad_instances([InstanceData(bboxes=one.bboxes) for one in proposals], device)
