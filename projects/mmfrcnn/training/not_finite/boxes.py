"""What is suspicious about the boxes of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor

_REACH = ('reaches outside its image', 'reach outside their image')


def describe_boxes(samples: Sequence[Any]) -> str:
    """Say how many ground-truth boxes there are, which is the smallest, what is odd.

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
        2 boxes on 1 image; 1 reaches outside its image; the smallest side is 0.5 px \
(box 2 of a.jpg)
    """
    boxes = [_boxes(sample) for sample in samples]
    count = sum(map(len, boxes))
    images = f'{len(boxes)} image{"s" * (len(boxes) != 1)}'
    parts = [f'{count} box{"es" * (count != 1)} on {images}']
    if not count:
        return parts[0]
    unusable = sum(int((~one.isfinite()).any(1).sum()) for one in boxes)
    flat = sum(int((_sides(one) <= 0).any(1).sum()) for one in boxes)
    outside = sum(map(_outside, boxes, samples))
    parts += [
        f'{number} {what}'
        for number, what in (
            (unusable, 'not finite'),
            (flat, 'without an area'),
            (outside, _REACH[outside != 1]),
        )
        if number
    ]
    return '; '.join([*parts, _smallest(boxes, samples)])


def _smallest(boxes: Sequence[Tensor], samples: Sequence[Any]) -> str:
    """Name the box whose smaller side is the smallest; one that is NaN before all."""
    least = [_sides(one).amin(1).nan_to_num(nan=-torch.inf) for one in boxes]
    image = min(
        (i for i, one in enumerate(least) if len(one)), key=lambda i: least[i].min()
    )
    place = int(least[image].argmin())
    side = float(_sides(boxes[image][place]).amin())
    path = getattr(samples[image], 'img_path', 'an image')
    return f'the smallest side is {side:.3g} px (box {place + 1} of {path})'


def _boxes(sample: Any) -> Tensor:
    instances = getattr(sample, 'gt_instances', None)
    if instances is None or 'bboxes' not in instances:
        return torch.zeros(0, 4)
    return get_box_tensor(instances.bboxes).detach().cpu().float()


def _sides(boxes: Tensor) -> Tensor:
    """Return width and height of boxes (..., 4)."""
    return boxes[..., 2:] - boxes[..., :2]


def _outside(boxes: Tensor, sample: Any) -> int:
    """Count boxes (N, 4) that reach a pixel or more out of their image."""
    height, width = getattr(sample, 'img_shape', (torch.inf, torch.inf))[:2]
    limit = torch.tensor([width, height], dtype=torch.float32) + 1
    return int(((boxes[:, :2] < -1) | (boxes[:, 2:] > limit)).any(1).sum())
