"""The detections of a batch, best first.

Shapes: N images, D detection slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Detections(Sequence):
    """The detections of N images in D slots each, best first.

    It is also the list of per-image ``InstanceData`` that mmdet's detectors hand out.
    The list is made only when somebody asks for an image: that has to wait for the
    device, once for all images.

    Args:
        boxes (Tensor): xyxy in pixels, float32, shape (N, D, 4); zeros in empty slots.
        scores (Tensor): In [0, 1], float32, shape (N, D); zeros in empty slots.
        labels (Tensor): Class indices, int64, shape (N, D); zeros in empty slots.
        mask (Tensor): Slots that hold a detection: the first ones, bool, shape (N, D).
    """

    def __init__(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, mask: Tensor
    ) -> None:
        self.boxes = boxes
        self.scores = scores
        self.labels = labels
        self.mask = mask
        self._instances: list[InstanceData] | None = None

    @classmethod
    def of(cls, instances: Sequence[InstanceData], device: torch.device) -> Detections:
        """Bring ``bboxes``, ``scores`` and ``labels`` of each image into common slots.

        Args:
            instances (Sequence[InstanceData]): One an image.
            device (torch.device): Where they live.

        Returns:
            Detections: In the order of each image's boxes, D at least 1.
        """
        one = InstanceData(
            bboxes=torch.zeros(1, 4, device=device),
            scores=torch.zeros(1, device=device),
            labels=torch.zeros(1, dtype=torch.int64, device=device),
        )
        rows = [*instances, one]

        def padded(values: Iterable[Tensor]) -> Tensor:
            return pad_sequence(list(values), batch_first=True)[:-1]

        return cls(
            padded(row.bboxes for row in rows),
            padded(row.scores for row in rows),
            padded(row.labels for row in rows),
            padded(torch.ones_like(row.labels, dtype=torch.bool) for row in rows),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, image):
        if self._instances is None:
            counts = self.mask.sum(1).cpu().tolist()  # waits for the device
            self._instances = [
                InstanceData(
                    bboxes=self.boxes[i, :count],
                    scores=self.scores[i, :count],
                    labels=self.labels[i, :count],
                )
                for i, count in enumerate(counts)
            ]
        return self._instances[image]
