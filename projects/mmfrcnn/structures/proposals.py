"""The proposals of a batch, best first.

Shapes: N images, P proposal slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.structures.padded_instances import (
    PaddedInstances,
    pad_instances,
    scale_factors,
)


class Proposals(Sequence):
    """The proposals of N images in P slots each, best first.

    It is also the list of per-image ``InstanceData`` that mmdet's heads expect. The
    list is made only when somebody asks for an image: that has to wait for the device.

    Args:
        boxes (Tensor): xyxy in input pixels, float32, shape (N, P, 4); zeros in empty
            slots.
        scores (Tensor): Objectness in [0, 1], float32, shape (N, P).
        mask (Tensor): Slots that hold a proposal: the first ones, bool, shape (N, P).
    """

    def __init__(self, boxes: Tensor, scores: Tensor, mask: Tensor) -> None:
        self.boxes = boxes
        self.scores = scores
        self.mask = mask
        self._instances: list[InstanceData] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, image):
        if self._instances is None:
            counts = self.mask.sum(1).tolist()
            self._instances = [
                InstanceData(
                    bboxes=self.boxes[i, :count],
                    scores=self.scores[i, :count],
                    labels=torch.zeros_like(self.scores[i, :count], dtype=torch.int64),
                )
                for i, count in enumerate(counts)
            ]
        return self._instances[image]

    def rescaled(self, metas: Sequence[dict]) -> Proposals:
        """Return the same in pixels of the original images."""
        boxes = self.boxes / scale_factors(metas, self.boxes.device)
        return Proposals(boxes, self.scores, self.mask)


def padded_proposals(
    proposals: Sequence[InstanceData], device: torch.device
) -> PaddedInstances:
    """Bring proposals of either form, ours or mmdet's list, into slots."""
    if isinstance(proposals, Proposals):
        return PaddedInstances(proposals.boxes, proposals.mask)
    return pad_instances([InstanceData(bboxes=one.bboxes) for one in proposals], device)
