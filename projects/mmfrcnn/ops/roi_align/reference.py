"""Every region on every level, moved out of the image on those that are not its own.

No region list depends on the data, so nothing waits for the device, and what is pooled
elsewhere is zero. Where a region is moved to it has no sample points: torchvision's
kernel writes its zeros and reads no feature. A gather that reads each region's level
alone would need as many sample points for all as for the largest, or a list of regions
a level, whose length the host would have to ask for.

Shapes: N images, L levels, K regions, C channels, (S, S) the output size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

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
    scales: Sequence[float],
) -> Tensor:
    """Pool each region from its level.

    Args:
        pool (Callable): Torchvision's, with its options bound.
        feats (Sequence[Tensor]): L feature maps, each (N, C, H_l, W_l).
        rois (Tensor): (image, x1, y1, x2, y2) in input pixels, shape (K, 5).
        levels (Tensor): Level of each region, int64, shape (K,).
        scales (Sequence[float]): Features a pixel, of each level.

    Returns:
        Tensor: Shape (K, C, S, S), of the feature maps' dtype.
    """
    full = full_precision(feats)
    pooled = None
    moved = moved_regions(rois.to(full[0].dtype), levels, len(full))
    for features, own, scale in zip(full, moved, scales, strict=True):
        part = pool(features, own, spatial_scale=scale)
        pooled = part if pooled is None else pooled.add_(part)
    return pooled.to(feats[0].dtype)


def align(
    feats: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Pool by torchvision's ``roi_align``; see :func:`pool_levels`."""
    pool = partial(
        torch.ops.torchvision.roi_align,
        pooled_height=output_size,
        pooled_width=output_size,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )
    levels = _levels_with_points(rois, levels, sampling_ratio, aligned)
    return pool_levels(pool, feats, rois, levels, scales)


def align_backward(
    grad: Tensor,
    rois: Tensor,
    levels: Tensor,
    images: int,
    heights: Sequence[int],
    widths: Sequence[int],
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> list[Tensor]:
    """Return the gradient of every map from that of :func:`align`, channels last."""
    (full,) = full_precision([grad])
    _, channels, *size = grad.shape
    levels = _levels_with_points(rois, levels, sampling_ratio, aligned)
    moved = moved_regions(rois.to(full.dtype), levels, len(scales))
    return [
        torch.ops.torchvision._roi_align_backward(
            full,
            own,
            scale,
            *size,
            images,
            channels,
            height,
            width,
            sampling_ratio,
            aligned,
        ).to(grad.dtype, memory_format=torch.channels_last)
        for own, scale, height, width in zip(
            moved, scales, heights, widths, strict=True
        )
    ]


def moved_regions(rois: Tensor, levels: Tensor, num_levels: int) -> Iterator[Tensor]:
    """Yield the regions (K, 5) as each level sees them."""
    finite = rois.isfinite().all(1)
    for level in range(num_levels):
        own = (finite & (levels == level))[:, None]
        yield torch.cat([rois[:, :1], torch.where(own, rois[:, 1:], ELSEWHERE)], 1)


def _levels_with_points(
    rois: Tensor, levels: Tensor, sampling_ratio: int, aligned: bool
) -> Tensor:
    """No level for regions without sample points: inside out, they stop torchvision."""
    if sampling_ratio > 0 or not aligned:
        return levels
    return torch.where((rois[:, 3:] > rois[:, 1:3]).all(1), levels, -1)


def full_precision(feats: Sequence[Tensor]) -> list[Tensor]:
    """Half-precision features in float32: positions in half would be whole pixels."""
    half = (torch.float16, torch.bfloat16)
    return [level.float() if level.dtype in half else level for level in feats]
