"""RoIAlign: the average of a cell's sample points (torchvision) or their maximum.

Shapes: input (N, C, H, W), rois (K, 5) as (image, x1, y1, x2, y2), output (K, C, P, Q).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.compat.ops.precision import at_least_float32

AVERAGE = 1
# What mmcv's CPU kernel finds in a cell without sample points.
NO_MAXIMUM = -10000.0


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the pooled features, and in maximum mode where each was found."""
    full = at_least_float32(input)
    rois = rois.to(full.dtype)
    size = (aligned_height, aligned_width)
    if pool_mode == AVERAGE:
        output.copy_(
            torch.ops.torchvision.roi_align(
                full, rois, spatial_scale, *size, sampling_ratio, aligned
            )
        )
        return
    for index, (image, ys, xs) in enumerate(
        _sample_points(rois, size, spatial_scale, sampling_ratio, aligned)
    ):
        values = _bilinear(full[image], ys.reshape(-1, 1), xs.reshape(1, -1))
        height, width = ys.shape[1], xs.shape[1]  # sample points a cell
        if height * width == 0:
            output[index], argmax_y[index], argmax_x[index] = NO_MAXIMUM, -1, -1
            continue
        # (C, P, h, Q, w) -> (C, P, Q, h * w)
        cells = values.view(-1, size[0], height, size[1], width)
        best, place = cells.permute(0, 1, 3, 2, 4).flatten(3).max(-1)
        rows = torch.arange(size[0], device=rois.device)[:, None]
        columns = torch.arange(size[1], device=rois.device)
        output[index] = best
        argmax_y[index] = ys[rows, place // width]
        argmax_x[index] = xs[columns, place % width]


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the input."""
    full = at_least_float32(grad_output)
    rois = rois.to(full.dtype)
    if pool_mode == AVERAGE:
        gradient = torch.ops.torchvision._roi_align_backward(
            full,
            rois,
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
        grad_input.copy_(gradient)
        return
    _, channels, height, width = grad_input.shape
    gradient = torch.zeros_like(grad_input, dtype=full.dtype)
    # One row an (image, channel), so that every maximum adds to its four corners.
    plane = rois[:, 0].long()[:, None] * channels + torch.arange(
        channels, device=rois.device
    )
    ys, xs = argmax_y.to(full.dtype), argmax_x.to(full.dtype)
    full = full * (ys != -1)  # cells without sample points
    for row, y_weight in _corners(ys, height):
        for column, x_weight in _corners(xs, width):
            place = (plane[..., None, None] * height + row) * width + column
            share = full * y_weight * x_weight
            gradient.view(-1).index_add_(0, place.reshape(-1), share.reshape(-1))
    grad_input.copy_(gradient)


def _sample_points(
    rois: Tensor,
    size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
):
    """Yield (image, ys (P, h), xs (Q, w)) of each region, in feature cells."""
    for roi in rois:
        axes = []
        for start, end, cells in ((roi[2], roi[4], size[0]), (roi[1], roi[3], size[1])):
            begin = start * scale - 0.5 * aligned
            extent = end * scale - 0.5 * aligned - begin
            if not aligned:
                extent = extent.clamp(min=1)
            count = sampling_ratio
            if count <= 0:
                count = max(0, int((extent / cells).ceil()))
            length = extent / cells
            origin = begin + torch.arange(cells).to(rois) * length
            step = torch.arange(count).to(rois) + 0.5
            axes.append(origin[:, None] + step * length / max(count, 1))
        yield int(roi[0]), *axes


def _corners(position: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Index and weight of the two cells around each position along one axis."""
    inside = (position >= -1) & (position <= size)
    clamped = position.clamp(0, size - 1)
    low = clamped.long()
    share = clamped - low
    high = (low + 1).clamp(max=size - 1)
    return [(low, (1 - share) * inside), (high, share * inside)]


def _bilinear(feature: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """Interpolate a map (C, H, W) at every y (Y, 1) and x (1, X): (C, Y, X)."""
    _, height, width = feature.shape
    corners = (
        feature[:, row, column] * (y_weight * x_weight)
        for row, y_weight in _corners(ys, height)
        for column, x_weight in _corners(xs, width)
    )
    return sum(corners, start=feature.new_zeros(()))
