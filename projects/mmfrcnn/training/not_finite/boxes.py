"""What is suspicious about the boxes of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor


def describe_boxes(samples: Sequence[Any]) -> str:
    """Say how many ground-truth boxes there are, what is odd, and the smallest side.

    Args:
        samples (Sequence): Data samples with ``gt_instances``, boxes in pixels of the
            image as the network is fed it, and ``img_shape``.

    Example:
        >>> from mmdet.structures import DetDataSample
        >>> from mmengine.structures import InstanceData
        >>> image = DetDataSample(metainfo=dict(img_path='a.jpg', img_shape=(50, 50)))
        >>> boxes = torch.tensor([[0.0, 0, 9, 9], [40, 2, 60, 2.5]])
        >>> image.gt_instances = InstanceData(bboxes=boxes)
        >>> print(describe_boxes([image]))
        2 boxes on 1 image; 1 outside its image (box 2 of a.jpg); the smallest side \
is 0.5 px (box 2 of a.jpg)
    """
    boxes = [_boxes(sample) for sample in samples]
    count = sum(map(len, boxes))
    images = f'{len(boxes)} image{"s" * (len(boxes) != 1)}'
    parts = [f'{count} box{"es" * (count != 1)} on {images}']
    if not count:
        return parts[0]
    odd = {
        'not finite': [~one.isfinite().all(1) for one in boxes],
        'without an area': [(_sides(one) <= 0).any(1) for one in boxes],
        'outside its image': list(map(_is_outside, boxes, samples)),
    }
    for what, masks in odd.items():
        number = sum(int(mask.sum()) for mask in masks)
        if number:
            place = _place(samples, [mask.float() for mask in masks])
            first = 'first ' * (number > 1)
            parts.append(f'{number} {what} ({first}{place})')
    # A side that is not a number has been said.
    sides = [_sides(one).amin(1).nan_to_num(nan=torch.inf) for one in boxes]
    least = min(float(side) for one in sides for side in one)
    place = _place(samples, [-one for one in sides])
    return '; '.join([*parts, f'the smallest side is {least:.3g} px ({place})'])


def _place(samples: Sequence[Any], values: Sequence[Tensor]) -> str:
    """Name the box of which a value is the largest, the first of equals."""
    filled = [image for image, one in enumerate(values) if len(one)]
    image = max(filled, key=lambda i: float(values[i].max()))
    path = getattr(samples[image], 'img_path', 'an image')
    return f'box {int(values[image].argmax()) + 1} of {path}'


def _boxes(sample: Any) -> Tensor:
    instances = getattr(sample, 'gt_instances', None)
    if instances is None or 'bboxes' not in instances:
        return torch.zeros(0, 4)
    return get_box_tensor(instances.bboxes).detach().cpu().float()


def _sides(boxes: Tensor) -> Tensor:
    """Return width and height of boxes (..., 4)."""
    return boxes[..., 2:] - boxes[..., :2]


def _is_outside(boxes: Tensor, sample: Any) -> Tensor:
    """Whether each of some boxes (N, 4) reaches a pixel or more out of its image."""
    height, width = getattr(sample, 'img_shape', (torch.inf, torch.inf))[:2]
    limit = torch.tensor([width, height], dtype=torch.float32) + 1
    return ((boxes[:, :2] < -1) | (boxes[:, 2:] > limit)).any(1)
