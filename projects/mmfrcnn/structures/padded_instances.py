"""Lists of per-image instances as one padded batch.

Shapes: N images, G the largest number of instances in an image (at least 1, so that no
step needs a case for "none").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor


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


def to_device(values: Sequence | np.ndarray, dtype: torch.dtype, device) -> Tensor:
    """Bring host numbers to a device without making the host wait for it."""
    return torch.as_tensor(np.asarray(values)).to(device, dtype, non_blocking=True)


def pad_instances(
    instances: Sequence[InstanceData | None], device: torch.device
) -> PaddedInstances:
    """Pad the boxes (and labels, when present) of a batch into common slots.

    Boxes without area are masked out: no box regresses to them (their log-size is
    infinite) and nothing overlaps them.

    Args:
        instances (Sequence[InstanceData]): One an image, with ``bboxes`` (g, 4) xyxy
            and, for ground truth, ``labels`` (g,). None: no boxes.
        device (torch.device): Where the result lives.

    Returns:
        PaddedInstances: In the order of each image's boxes.
    """
    nothing = InstanceData(bboxes=torch.zeros(0, 4))
    given = [nothing if one is None else one for one in instances]
    sizes = np.array([len(one.bboxes) for one in given], dtype=np.int64)
    slots = np.arange(max(1, sizes.max(initial=0)))
    filled = slots < sizes[:, None]  # (N, G)
    # Row `sum(sizes)` of the concatenation below is the padding.
    rows = np.where(filled, (sizes.cumsum() - sizes)[:, None] + slots, sizes.sum())
    index = to_device(rows, torch.int64, device)
    flat = [one.bboxes.to(device, torch.float32) for one in given]
    boxes = torch.cat([*flat, torch.zeros(1, 4, device=device)])[index]
    mask = (boxes[..., 2:] > boxes[..., :2]).all(-1)
    labels = None
    if all('labels' in one for one in given):
        classes = [one.labels.to(device, torch.int64) for one in given]
        padding = torch.zeros(1, dtype=torch.int64, device=device)
        labels = torch.cat([*classes, padding])[index]
    return PaddedInstances(boxes, mask, labels)


def image_sizes(
    metas: Sequence[dict], device: torch.device, key: str = 'img_shape'
) -> Tensor:
    """Return (height, width) of each image in pixels, float32, shape (N, 2)."""
    sides = np.array([meta[key][:2] for meta in metas], np.float32)
    return to_device(sides.reshape(-1, 2), torch.float32, device)


def scale_factors(metas: Sequence[dict], device: torch.device) -> Tensor:
    """Return what xyxy boxes of each image were scaled by, float32, shape (N, 1, 4)."""
    return image_sizes(metas, device, 'scale_factor').repeat(1, 2)[:, None]
