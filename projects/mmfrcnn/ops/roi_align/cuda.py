"""RoIAlign over all pyramid levels in one launch, and its gradient in another.

What the launches run, and why it is written so, is in :mod:`.kernels`.

Shapes: N images, L levels, K regions, C channels, S output size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
import triton
from torch import Tensor

from mmfrcnn.ops.roi_align import reference
from mmfrcnn.ops.roi_align.kernels import align_kernel, backward_kernel

# What a program holds: cells by channels forward, features by channels backward.
FORWARD_ELEMENTS = 1024
TILE, TILE_CHANNELS, BACKWARD_WARPS = 8, 128, 8
# Regions that a program of the backward pass looks at together: the bits of a number.
CHUNK = 32
# What the self-check compares: type and its tolerance, sampling ratio, whether aligned.
CHECKS = (
    (torch.float32, 1e-4, 0, True),
    (torch.float16, 4e-3, 2, False),
    (torch.bfloat16, 3e-2, 0, True),
)


def align(
    feats: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Pool each region from its level; see :mod:`mmfrcnn.ops.roi_align`."""
    images, channels = feats[0].shape[:2]
    pooled = feats[0].new_empty(len(rois), channels, output_size, output_size)
    maps = tuple(
        level.to(pooled.dtype).contiguous(memory_format=torch.channels_last)
        for level in feats
    )
    heights, widths = zip(*(level.shape[2:] for level in feats), strict=True)
    cells = triton.next_power_of_2(output_size)
    block = min(triton.next_power_of_2(channels), max(FORWARD_ELEMENTS // cells, 1))
    with torch.cuda.device_of(rois):
        align_kernel[len(rois) * output_size, triton.cdiv(channels, block)](
            maps,
            *_floats(heights, widths, scales),
            rois.float().contiguous(),
            levels.contiguous(),
            pooled,
            float(images),
            channels,
            output_size,
            max(sampling_ratio, 0),
            aligned,
            cells,
            block,
        )
    return pooled


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
    channels, output_size = grad.shape[1:3]
    shapes = list(zip(heights, widths, strict=True))
    maps = [grad.new_empty(images, *shape, channels) for shape in shapes]
    tiles = sum(triton.cdiv(h, TILE) * triton.cdiv(w, TILE) for h, w in shapes)
    block = min(triton.next_power_of_2(channels), TILE_CHANNELS)
    order, bounds = _by_map(rois, levels, images, len(maps))
    with torch.cuda.device_of(rois):
        backward_kernel[images * tiles, triton.cdiv(channels, block)](
            tuple(maps),
            *_floats(heights, widths, scales),
            rois[order].float(),
            order,
            bounds,
            grad.contiguous(memory_format=torch.channels_last),
            float(images),
            channels,
            output_size,
            max(sampling_ratio, 0),
            aligned,
            TILE,
            block,
            CHUNK,
            num_warps=BACKWARD_WARPS,
        )
    return [level.permute(0, 3, 1, 2) for level in maps]


def _floats(*of_levels: Sequence[float]) -> list[tuple[float, ...]]:
    """Sizes, too, as floats: for a kind of integer Triton would compile once more."""
    return [tuple(map(float, values)) for values in of_levels]


def _by_map(
    rois: Tensor, levels: Tensor, images: int, num_levels: int
) -> tuple[Tensor, Tensor]:
    """Sort regions by the map that they are pooled from.

    Returns:
        tuple: order of the regions, int64, (K,); where in it those of map
        ``level * N + image`` begin, and the end, int64, (L * N + 1,). Regions of no map
        come last.
    """
    image = rois[:, 0]
    exists = (image >= 0) & (image < images) & (levels >= 0) & (levels < num_levels)
    number = num_levels * images
    key = torch.where(exists, levels * images + image.long(), number)
    key, order = key.sort(stable=True)
    return order, torch.searchsorted(key, torch.arange(number + 1, device=key.device))


def self_check(device: torch.device) -> None:
    """Pool awkward regions, forth and back, by the kernels and by plain operators.

    Raises:
        AssertionError: If they differ.
    """
    generator = torch.Generator().manual_seed(0)
    images, heights, widths, scales = 2, (13, 7), (21, 11), (1 / 4, 1 / 8)
    shapes = images, heights, widths
    maps = [
        torch.randn(images, 5, *shape, generator=generator)
        for shape in zip(heights, widths, strict=True)
    ]
    boxes = torch.rand(8, 4, generator=generator) * 80 - 20  # some are inside out
    boxes[5:] = torch.tensor([[9, 9, 9, 9], [-80, 3, 80, 5], [1, 1, 2, math.nan]])
    number = torch.arange(8)
    rois = torch.cat([(number % images)[:, None], boxes], 1).to(device)
    levels = (number // 2 % 2).to(device)
    given = torch.randn(8, 5, 2, 2, generator=generator)
    for dtype, tolerance, ratio, aligned in CHECKS:
        feats = [level.to(device, dtype) for level in maps]
        grad = given.to(device, dtype)
        same = partial(torch.testing.assert_close, atol=tolerance, rtol=tolerance)
        forth = feats, rois, levels, scales, 2, ratio, aligned
        same(align(*forth), reference.align(*forth))
        back = grad, rois, levels, *shapes, scales, ratio, aligned
        same(align_backward(*back), reference.align_backward(*back))
