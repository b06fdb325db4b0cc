"""What is known of a batch of images besides their pixels, on the device.

Shapes: N images, G ground-truth slots.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.structures.padded_instances import (
    PaddedInstances,
    bucket,
    on_host,
    pad_instances,
    padded_arrays,
)
from mmfrcnn.structures.transfer import to_device

OWN_TENSORS = ('sizes', 'padded_sizes', 'scale_factors', 'keys')


class ImageBatch(Sequence):
    """What is known of N images besides their pixels, brought over in one copy.

    It is also the list of their meta information that mmdet's heads expect.

    Args:
        metas (Sequence[dict]): Meta information of each image.
        device (torch.device): Where the tensors live.
        gt (Sequence[InstanceData] | None): Ground truth of each image, with ``bboxes``
            and ``labels``.
        ignored (Sequence[InstanceData | None] | None): Ignored regions, with
            ``bboxes``.

    Attributes:
        sizes (Tensor | None): (height, width) of each image in pixels, float32, shape
            (N, 2). This and the next two are None where the images do not tell.
        padded_sizes (Tensor | None): Likewise of each padded image.
        scale_factors (Tensor | None): What xyxy boxes of each image were scaled by,
            float32, shape (N, 1, 4).
        keys (Tensor): :func:`image_key` of each image, int64, shape (N,).
        gt (PaddedInstances | None): Ground truth in slots; None where none was given.
        ignored (PaddedInstances | None): Ignored regions, likewise.
    """

    def __init__(
        self,
        metas: Sequence[dict],
        device: torch.device,
        gt: Sequence[InstanceData] | None = None,
        ignored: Sequence[InstanceData | None] | None = None,
    ) -> None:
        self.metas = list(metas)
        if gt is not None:
            nothing = InstanceData(bboxes=torch.zeros(0, 4))
            ignored = [one or nothing for one in ignored or [None] * len(gt)]
        keys = [image_key(meta, place) for place, meta in enumerate(self.metas)]
        there = to_device(
            {
                'keys': np.array(keys, np.int64),
                **_pairs('img_shape', self.metas),
                **_pairs('pad_shape', self.metas),
                **_pairs('scale_factor', self.metas),
                **_boxes('gt', gt),
                **_boxes('ignored', ignored),
            },
            device,
        )
        self.keys = there['keys']
        self.sizes = there.get('img_shape')
        self.padded_sizes = there.get('pad_shape')
        scale = there.get('scale_factor')
        self.scale_factors = None if scale is None else scale.repeat(1, 2)[:, None]
        self.gt = _padded('gt', there, gt, device)
        self.ignored = _padded('ignored', there, ignored, device)

    @classmethod
    def of(
        cls,
        metas: Sequence[dict],
        device: torch.device,
        gt: Any = None,
        ignored: Any = None,
    ) -> ImageBatch:
        """Return meta information that is a batch already, or make one of it."""
        return metas if isinstance(metas, cls) else cls(metas, device, gt, ignored)

    def tensors(self) -> dict[str, Tensor]:
        """Name all that is on the device: with the metas it is the whole batch."""
        found = {name: getattr(self, name) for name in OWN_TENSORS}
        for owner in ('gt', 'ignored'):
            padded = getattr(self, owner)
            if padded is not None:
                found |= {
                    f'{owner}.{name}': part for name, part in vars(padded).items()
                }
        return {name: one for name, one in found.items() if one is not None}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> ImageBatch:
        """Return the same metas with other tensors of these names."""
        other = copy.copy(self)
        for owner in ('gt', 'ignored'):
            setattr(other, owner, copy.copy(getattr(self, owner)))
        for name, tensor in tensors.items():
            owner, _, part = name.rpartition('.')
            setattr(getattr(other, owner) if owner else other, part, tensor)
        return other

    def __len__(self) -> int:
        return len(self.metas)

    def __getitem__(self, image):
        return self.metas[image]


class DataSamples(list):
    """mmdet's data samples of a batch, and what both heads need of them.

    Args:
        samples (Sequence[DetDataSample]): One an image.
        device (torch.device): Where the heads work.
        training (bool): Whether they need the ground truth.

    Attributes:
        images (ImageBatch): What the samples say, on the device.
        masks (StackedMasks | None): Their masks, where they were brought over already.
    """

    masks: Any = None

    def __init__(
        self, samples: Sequence[DetDataSample], device: torch.device, training: bool
    ) -> None:
        super().__init__(samples)
        metas = [one.metainfo for one in samples]
        if training:
            gt = [one.gt_instances for one in samples]
            ignored = [one.get('ignored_instances') for one in samples]
            self.images = ImageBatch(metas, device, gt, ignored)
        else:
            self.images = ImageBatch(metas, device)

    @classmethod
    def of(
        cls, samples: Sequence[DetDataSample], device: torch.device, training: bool
    ) -> DataSamples:
        """Return what was brought over already as it is, or bring it over."""
        return samples if isinstance(samples, cls) else cls(samples, device, training)

    def tensors(self) -> dict[str, Tensor]:
        """Name all that was brought over to the device."""
        masks = {} if self.masks is None else vars(self.masks)
        return self.images.tensors() | {f'masks.{name}': masks[name] for name in masks}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> DataSamples:
        """Return the same samples with other tensors of these names."""
        other, masks = copy.copy(self), copy.copy(self.masks)
        rest = dict(tensors)
        for name in [name for name in rest if name.startswith('masks.')]:
            setattr(masks, name.removeprefix('masks.'), rest.pop(name))
        other.images, other.masks = self.images.with_tensors(rest), masks
        return other


def images_of(
    samples: Sequence[DetDataSample], device: torch.device, training: bool
) -> ImageBatch:
    """Return what samples say: brought over for both heads by the detector, or now."""
    return DataSamples.of(samples, device, training).images


def image_key(meta: Mapping, place: int) -> int:
    """Return a number in [0, 2**32) that stands for an image wherever it appears.

    Args:
        meta (Mapping): Meta information, with ``img_id`` or ``img_path``; an image with
            neither is known by its place in the batch.
        place (int): That place.
    """
    name = meta.get('img_id', meta.get('img_path', place))
    return zlib.crc32(repr(name).encode())


def _pairs(name: str, metas: Sequence[dict]) -> dict[str, np.ndarray]:
    """Two numbers an image, float32, shape (N, 2), where all images have them."""
    if not all(name in meta for meta in metas):
        return {}
    pairs = [meta[name][:2] for meta in metas]
    return {name: np.array(pairs, np.float32).reshape(-1, 2)}


def _slots(instances: Sequence[InstanceData]) -> int:
    return bucket(max((len(one.bboxes) for one in instances), default=0))


def _boxes(
    owner: str, instances: Sequence[InstanceData] | None
) -> dict[str, np.ndarray]:
    """What is on the host yet, in slots, to go over with the rest."""
    if instances is None or not on_host(instances):
        return {}
    arrays = padded_arrays(instances, _slots(instances))
    return {f'{owner} {name}': array for name, array in arrays.items()}


def _padded(
    owner: str,
    there: Mapping[str, Tensor],
    instances: Sequence[InstanceData] | None,
    device: torch.device,
) -> PaddedInstances | None:
    """What came over, or was on the device before."""
    if instances is None:
        return None
    if f'{owner} boxes' in there:
        labels = there.get(f'{owner} labels')
        return PaddedInstances.of(there[f'{owner} boxes'], labels)
    return pad_instances(instances, device, _slots(instances))
