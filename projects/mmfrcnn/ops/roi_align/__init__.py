"""Pooling regions from a feature pyramid, each from its level.

Shapes: N images, L levels, K regions, C channels, (S, S) the output size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor

from mmfrcnn.ops.backend import backend_of
from mmfrcnn.ops.roi_align.cpu import gather_align
from mmfrcnn.ops.roi_align.reference import pool_levels


def pyramid_roi_align(
    feats: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    strides: Sequence[int],
    *,
    output_size: int,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """RoIAlign (He et al. 2017, section 3), as torchvision's ``roi_align`` defines it.

    Args:
        feats (Sequence[Tensor]): L feature maps, each (N, C, H_l, W_l).
        rois (Tensor): (image, x1, y1, x2, y2) in input pixels, shape (K, 5).
        levels (Tensor): Level of each region, int64, shape (K,).
        strides (Sequence[int]): Stride of each level in input pixels.
        output_size (int): S.
        sampling_ratio (int): Sample points an output cell along each axis; not
            positive: as many as feature cells in an output cell, rounded up.
        aligned (bool): Whether feature i stands at (i + 0.5) * stride.

    Returns:
        Tensor: Shape (K, C, S, S), of the feature maps' dtype.
    """
    options: dict[str, Any] = dict(
        output_size=output_size, sampling_ratio=sampling_ratio, aligned=aligned
    )
    full = _full_precision(feats)
    if backend_of(rois) == 'cpu':
        pooled = gather_align(full, rois, levels, strides, **options)
    else:
        pool = partial(torchvision.ops.roi_align, **options)
        pooled = pool_levels(pool, full, rois, levels, strides)
    return pooled.to(feats[0].dtype)


def pyramid_roi_pool(
    feats: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    strides: Sequence[int],
    *,
    output_size: int,
) -> Tensor:
    """RoIPool (Girshick 2015, section 2.1); arguments as :func:`pyramid_roi_align`."""
    pool = partial(torchvision.ops.roi_pool, output_size=output_size)
    pooled = pool_levels(pool, _full_precision(feats), rois, levels, strides)
    return pooled.to(feats[0].dtype)


def _full_precision(feats: Sequence[Tensor]) -> list[Tensor]:
    """Half-precision features in float32: positions in half would be whole pixels."""
    half = (torch.float16, torch.bfloat16)
    return [level.float() if level.dtype in half else level for level in feats]
