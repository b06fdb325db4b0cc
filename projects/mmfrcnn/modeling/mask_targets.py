"""What a mask head should draw: ground-truth masks, cut out and resized.

Shapes: N images, M masks in the whole batch, (H, W) the padded images, R regions,
(S, S) the masks that the head draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
import torchvision  # noqa: F401  (registers the operator)
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BaseInstanceMasks, BitmapMasks, mask_target
from mmengine.config import ConfigDict
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.structures.padded_instances import bucket
from mmfrcnn.structures.transfer import to_device

# Outside every mask, so that nothing is found there, and without extent.
ELSEWHERE = -1e5
# Pixels of masks that regions are cut from at a time: half a gigabyte of float32, and
# torchvision's kernel counts them in 32 bits.
PIXELS_AT_ONCE = 1 << 27


@dataclass
class StackedMasks:
    """The bitmaps of a batch, image after image, padded with zeros to a common size.

    Attributes:
        masks (Tensor): As the data set has them (uint8), shape (M, H, W), M >= 1.
        first (Tensor): Place of each image's first mask, int64, shape (N,).
    """

    masks: Tensor
    first: Tensor
    on_host = False

    @classmethod
    def of(
        cls,
        masks: Sequence[BitmapMasks],
        size: tuple[int, int],
        device: torch.device,
    ) -> StackedMasks:
        """Stack the masks of each image, (height, width) ``size`` or larger."""
        counts = np.array([len(one) for one in masks], np.int64)
        height, width = np.max([size, *((m.height, m.width) for m in masks)], 0)
        kind = np.result_type(np.uint8, *(one.masks.dtype for one in masks))
        stack = np.zeros((max(counts.sum(), 1), height, width), kind)
        first = counts.cumsum() - counts
        for start, count, one in zip(first, counts, masks, strict=True):
            stack[start : start + count, : one.height, : one.width] = one.masks
        return cls(**to_device(dict(masks=stack, first=first), device))

    def in_bucket(self) -> StackedMasks:
        """Return the same in 8, 16, 32, ... slots, so that shapes recur."""
        more = bucket(len(self.masks)) - len(self.masks)
        return StackedMasks(F.pad(self.masks, (0, 0, 0, 0, 0, more)), self.first)

    def cut(self, rois: Tensor, matched_idxs: Tensor, size: tuple[int, int]) -> Tensor:
        """Return how much of each cell of each region its mask covers.

        The cells are RoIAlign's (He et al. 2017, section 3), as in mmdet's
        ``BitmapMasks.crop_and_resize``.

        Args:
            rois (Tensor): (image, x1, y1, x2, y2) in input pixels, shape (R, 5).
            matched_idxs (Tensor): Which mask of its image, int64, shape (R,).
            size (tuple[int, int]): (height, width) of the result.

        Returns:
            Tensor: float32 in [0, 1], shape (R, S, S).
        """
        height, width = self.masks.shape[1:]
        # Of an image without masks: another's, or none. No such region is a positive.
        place = self.first[rois[:, 0].long()] + matched_idxs
        xs, ys = rois[:, 1::2].clamp(0, width), rois[:, 2::2].clamp(0, height)
        boxes = torch.stack([xs, ys], -1).flatten(1)  # (R, 4)
        covered = None
        for masks in self.masks.split(max(PIXELS_AT_ONCE // (height * width), 1)):
            own = ((place >= 0) & (place < len(masks)))[:, None]
            regions = torch.cat([place[:, None], torch.where(own, boxes, ELSEWHERE)], 1)
            regions[:, 0].clamp_(0, len(masks) - 1)
            # The kernel itself, which has no gradient to be deterministic about: its
            # wrapper would lay out all sample points of all regions for that.
            part = torch.ops.torchvision.roi_align(
                masks[:, None].to(boxes.dtype), regions, 1.0, *size, 0, True
            )
            covered = part if covered is None else covered + part
            place = place - len(masks)
        return covered[:, 0]


@dataclass
class ListedMasks:
    """Outlines: mmdet cuts them image by image, on the host, before they are filled."""

    masks: Sequence[BaseInstanceMasks]
    on_host = True

    def cut(self, rois: Tensor, matched_idxs: Tensor, size: tuple[int, int]) -> Tensor:
        """Arguments and result are those of :meth:`StackedMasks.cut`."""
        own = [rois[:, 0] == image for image in range(len(self.masks))]
        return mask_target(
            [rois[image, 1:] for image in own],
            [matched_idxs[image] for image in own],
            self.masks,
            ConfigDict(mask_size=size),
        )


def ground_truth_masks(
    samples: Sequence[DetDataSample], device: torch.device
) -> StackedMasks | ListedMasks:
    """Collect the masks of a batch, bitmaps or outlines.

    Args:
        samples (Sequence[DetDataSample]): Each image's ground truth, with ``masks``.
        device (torch.device): Where bitmaps go.

    Raises:
        UserError: Where there are no masks.
    """
    brought_over = getattr(samples, 'masks', None)
    if brought_over is not None:
        return brought_over
    instances = [one.gt_instances for one in samples]
    if not all('masks' in one for one in instances):
        raise UserError(
            'the RoI head has a mask head, but the ground truth has no masks. Load '
            "them: dict(type='LoadAnnotations', with_bbox=True, with_mask=True)"
        )
    masks = [one.masks for one in instances]
    if not all(isinstance(one, BitmapMasks) for one in masks):
        return ListedMasks(masks)
    # Of an image that is not padded with others, its own masks' size is enough.
    size = samples[0].metainfo.get('batch_input_shape', (1, 1)) if samples else (1, 1)
    return StackedMasks.of(masks, size, device)
