"""Every region on every level, moved out of the image on those that are not its own.

No region list depends on the data, so nothing waits for the device, and what is pooled
elsewhere is zero.

Shapes: N images, L levels, K regions, C channels, (S, S) the output size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Outside every image, so that pooling finds nothing there, and without extent, so that
# the region does not look long.
ELSEWHERE = -1e5


def pool_levels(
    pool: Callable[..., Tensor],
    feats: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    strides: Sequence[int],
) -> Tensor:
    """Pool each region from its level.

    Args:
        pool (Callable): Torchvision's, with its options bound.
        feats (Sequence[Tensor]): L feature maps, each (N, C, H_l, W_l).
        rois (Tensor): (image, x1, y1, x2, y2) in input pixels, shape (K, 5).
        levels (Tensor): Level of each region, int64, shape (K,).
        strides (Sequence[int]): Stride of each level in input pixels.

    Returns:
        Tensor: Shape (K, C, S, S).
    """
    image = rois[:, :1]
    elsewhere = torch.full_like(rois[:, 1:], ELSEWHERE)
    pooled = None
    for level, (features, stride) in enumerate(zip(feats, strides, strict=True)):
        own = (levels == level)[:, None]
        moved = torch.cat([image, torch.where(own, rois[:, 1:], elsewhere)], 1)
        part = pool(features, moved.to(features.dtype), spatial_scale=1.0 / stride)
        pooled = part if pooled is None else pooled + part
    return pooled
