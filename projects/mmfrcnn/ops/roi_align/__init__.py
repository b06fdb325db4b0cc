"""Pooling regions from a feature pyramid, each from its level.

Shapes: N images, L levels, K regions, C channels, (S, S) the output size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
import torchvision
from torch import Tensor

from mmfrcnn.ops.backend import backend_of
from mmfrcnn.ops.roi_align import reference
from mmfrcnn.ops.roi_align.cpu import gather_align


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
        rois (Tensor): (image, x1, y1, x2, y2) in input pixels, shape (K, 5). One with a
            coordinate that is not finite pools zeros.
        levels (Tensor): Level of each region, int64, shape (K,).
        strides (Sequence[int]): Stride of each level in input pixels.
        output_size (int): S.
        sampling_ratio (int): Sample points an output cell along each axis; not
            positive: as many as feature cells in an output cell, rounded up.
        aligned (bool): Whether feature i stands at (i + 0.5) * stride.

    Returns:
        Tensor: Shape (K, C, S, S), of the feature maps' dtype. Gradients reach the
        feature maps alone.
    """
    scales = [1.0 / stride for stride in strides]
    options = output_size, sampling_ratio, aligned
    # A processor's way is differentiated by torch; an operator would hide it.
    if backend_of(rois) == 'cpu':
        full = reference.full_precision(feats)
        return gather_align(full, rois, levels, scales, *options).to(feats[0].dtype)
    return _align(list(feats), rois.detach(), levels, scales, *options)


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
    scales = [1.0 / stride for stride in strides]
    return reference.pool_levels(pool, feats, rois, levels, scales)


@torch.library.custom_op('mmfrcnn::pyramid_roi_align', mutates_args=())
def _align(
    feats: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Pool on a device other than a processor; ``scales`` are 1 / strides."""
    options = output_size, sampling_ratio, aligned
    return _chosen(feats[0]).align(feats, rois, levels, scales, *options)


@_align.register_fake
def _align_shape(
    feats: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    return feats[0].new_empty(len(rois), feats[0].shape[1], output_size, output_size)


@torch.library.custom_op('mmfrcnn::pyramid_roi_align_backward', mutates_args=())
def _align_backward(
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
    """Return the gradient of every map, (N, C, H_l, W_l), channels last.

    On a GPU the kernel's is the same in every run. The plain operators' is not, and
    torch says so where deterministic algorithms are asked for.
    """
    shapes = images, heights, widths
    options = sampling_ratio, aligned
    return _chosen(grad).align_backward(grad, rois, levels, *shapes, scales, *options)


@_align_backward.register_fake
def _align_backward_shapes(
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
    return [
        grad.new_empty(images, height, width, grad.shape[1]).permute(0, 3, 1, 2)
        for height, width in zip(heights, widths, strict=True)
    ]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep what the backward pass needs: of the maps their shapes alone."""
    feats, rois, levels, scales, _, *options = inputs
    heights, widths = zip(*(level.shape[-2:] for level in feats), strict=True)
    ctx.save_for_backward(rois, levels)
    ctx.rest = len(feats[0]), list(heights), list(widths), scales, *options


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return _align_backward(grad, *ctx.saved_tensors, *ctx.rest), *[None] * 6


_align.register_autograd(_differentiate, setup_context=_keep)


def _chosen(tensor: Tensor) -> ModuleType:
    """Return the module whose functions run on this tensor's device."""
    # The kernel's sums are float32.
    if tensor.dtype == torch.float64 or backend_of(tensor, _self_check) != 'cuda':
        return reference
    from mmfrcnn.ops.roi_align import cuda

    return cuda


def _self_check(device: torch.device) -> None:
    from mmfrcnn.ops.roi_align import cuda

    cuda.self_check(device)
