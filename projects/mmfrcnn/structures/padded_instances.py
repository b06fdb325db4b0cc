"""Lists of per-image instances as one padded batch.

Shapes: N images, G slots an image (at least 1, so that no step needs a case for
"none").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmfrcnn.structures.transfer import to_device

FEWEST_SLOTS = 8


@dataclass
class PaddedInstances:
    """The boxes of N images in G slots each.

    Attributes:
        boxes (Tensor): xyxy, float32, shape (N, G, 4); zeros in empty slots.
        mask (Tensor): True where a slot holds a box, bool, shape (N, G).
        labels (Tensor | None): Class indices, int64, shape (N, G); zeros in empty
            slots.
    """

    boxes: Tensor
    mask: Tensor
    labels: Tensor | None = None

    @classmethod
    def of(cls, boxes: Tensor, labels: Tensor | None = None) -> PaddedInstances:
        """Mask slots, empty ones among them, whose boxes have no area.

        No box regresses to those (their log-size is infinite) and nothing overlaps
        them.
        """
        return cls(boxes, (boxes[..., 2:] > boxes[..., :2]).all(-1), labels)


def bucket(count: int) -> int:
    """Return how many slots to give to so many boxes: 8, 16, 32, ...

    So the shapes of batches recur, and what was prepared for a shape serves again.
    """
    return max(FEWEST_SLOTS, 1 << (count - 1).bit_length())


def pad_instances(
    instances: Sequence[InstanceData], device: torch.device, slots: int | None = None
) -> PaddedInstances:
    """Pad the boxes (and labels, when present) of a batch into common slots.

    Args:
        instances (Sequence[InstanceData]): One an image, with ``bboxes`` (g, 4) xyxy
            and, for ground truth, ``labels`` (g,).
        device (torch.device): Where the result lives.
        slots (int | None): G; None: as many as the fullest image needs.

    Returns:
        PaddedInstances: In the order of each image's boxes.
    """
    slots = slots or max([1, *(len(one.bboxes) for one in instances)])
    if on_host(instances):
        there = to_device(padded_arrays(instances, slots), device)
        return PaddedInstances.of(there['boxes'], there.get('labels'))
    rows = [one.bboxes.to(device, torch.float32) for one in instances]
    boxes = pad_sequence([*rows, rows[0].new_zeros(slots, 4)], batch_first=True)[:-1]
    if not all('labels' in one for one in instances):
        return PaddedInstances.of(boxes)
    rows = [one.labels.to(device, torch.int64) for one in instances]
    labels = pad_sequence([*rows, rows[0].new_zeros(slots)], batch_first=True)[:-1]
    return PaddedInstances.of(boxes, labels)


def on_host(instances: Sequence[InstanceData]) -> bool:
    """Whether all boxes are where numpy can read them."""
    return all(one.bboxes.device.type == 'cpu' for one in instances)


def padded_arrays(
    instances: Sequence[InstanceData], slots: int
) -> dict[str, np.ndarray]:
    """Pad on the host: ``boxes`` (N, G, 4) and, when present, ``labels`` (N, G)."""
    images = len(instances)
    arrays = {'boxes': np.zeros((images, slots, 4), np.float32)}
    if all('labels' in one for one in instances):
        arrays['labels'] = np.zeros((images, slots), np.int64)
    for image, one in enumerate(instances):
        for name, array in arrays.items():
            values = one.bboxes if name == 'boxes' else one.labels
            array[image, : len(values)] = values.numpy()
    return arrays
