"""RoIAlign (He et al., 2017), average and max.

Shapes: input (N, C, H, W), rois (K, 5) = (image, x1, y1, x2, y2), output
(K, C, ph, pw). ``pool_mode`` is mmcv's: 0 max, 1 average; `argmax_y` and `argmax_x`
(K, C, ph, pw) keep, for max alone, the feature coordinates of the largest sample.
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from mmfrcnn.compat.ops.precision import at_least_float32

MAX = 0
CHUNK_ELEMENTS = 2**24  # sampled values held at once by max pooling (64 MB float32)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the features of every RoI into ``output``."""
    feats, boxes = at_least_float32(input), at_least_float32(rois)
    size = (aligned_height, aligned_width)
    if pool_mode != MAX:
        output.copy_(
            torchvision.ops.roi_align(
                feats, boxes.to(feats), size, spatial_scale, sampling_ratio, aligned
            )
        )
        return
    y = _sample_points(
        boxes[:, [2, 4]], size[0], spatial_scale, sampling_ratio, aligned
    )
    x = _sample_points(
        boxes[:, [1, 3]], size[1], spatial_scale, sampling_ratio, aligned
    )
    per_roi = feats.size(1) * y[0].numel() * x[0].numel() if len(rois) else 1
    for part in torch.arange(len(rois)).split(max(1, CHUNK_ELEMENTS // per_roi)):
        chunk = slice(int(part[0]), int(part[-1]) + 1)
        image = boxes[chunk, 0].long()
        best, best_y, best_x = _max_sample(feats, image, y[chunk], x[chunk])
        output[chunk], argmax_y[chunk], argmax_x[chunk] = best, best_y, best_x


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the features into ``grad_input`` (N, C, H, W)."""
    grad, boxes = at_least_float32(grad_output), at_least_float32(rois)
    if pool_mode == MAX:
        grad_input.copy_(
            _scatter_to_corners(
                grad, boxes[:, 0].long(), argmax_y, argmax_x, grad_input
            )
        )
        return
    # RoIAlign is linear in the features: its gradient is the same wherever it is taken.
    feats = torch.zeros_like(grad_input, dtype=grad.dtype).requires_grad_()
    with torch.enable_grad():
        pooled = torchvision.ops.roi_align(
            feats,
            boxes.to(feats),
            (aligned_height, aligned_width),
            spatial_scale,
            sampling_ratio,
            aligned,
        )
    grad_input.copy_(torch.autograd.grad(pooled, feats, grad)[0])


def _sample_points(
    edges: Tensor, bins: int, spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """Return the coordinates sampled along one axis, (K, bins, S).

    With ``sampling_ratio`` 0 a RoI takes ceil(bin size) samples a bin; S is the most
    any RoI takes, and the others repeat their last sample, which leaves the max as it
    is. A RoI of no extent has no samples: NaN.
    """
    start, end = (edges * spatial_scale - (0.5 if aligned else 0.0)).unbind(dim=1)
    extent = end - start if aligned else (end - start).clamp(min=1)
    bin_size = extent / bins
    count = torch.full_like(bin_size, sampling_ratio)
    if sampling_ratio <= 0:
        count = bin_size.ceil().clamp(min=0)
    most = int(count.max()) if len(count) else 0
    step = torch.arange(max(most, 1), device=edges.device)
    step = torch.minimum(step, count[:, None] - 1) + 0.5
    within = step * (bin_size / count)[:, None]
    first = torch.arange(bins, device=edges.device) * bin_size[:, None]
    points = (start[:, None] + first)[:, :, None] + within[:, None, :]
    return points.where((count > 0)[:, None, None], torch.nan)


def _max_sample(
    feats: Tensor, image: Tensor, y: Tensor, x: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest bilinear sample of each bin and where it is.

    Args:
        feats (Tensor): (N, C, H, W).
        image (Tensor): (K,) index into N.
        y (Tensor): (K, ph, Sy) coordinates.
        x (Tensor): (K, pw, Sx) coordinates.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Value, y and x, each (K, C, ph, pw). A RoI
        without samples gives 0 and y = x = -1.
    """
    num_rois, height, samples_y = y.shape
    width, samples_x = x.shape[1:]
    grid = (num_rois, height, width, samples_y, samples_x)
    grid_y = y[:, :, None, :, None].expand(grid).flatten(3)  # (K, ph, pw, S)
    grid_x = x[:, None, :, None, :].expand(grid).flatten(3)
    value: Tensor = feats.new_zeros(())
    for weight, row, column in _corners(grid_y, grid_x, *feats.shape[-2:]):
        # (K, ph, pw, S, C): indexing puts the channel, which is sliced, last.
        corner = feats[image[:, None, None, None], :, row, column]
        value = value + weight[..., None] * corner
    best, where = value.movedim(-1, 1).max(dim=-1)  # (K, C, ph, pw)
    best_y = (
        grid_y[:, None].expand(*best.shape[:2], -1, -1, -1).gather(-1, where[..., None])
    )
    best_x = (
        grid_x[:, None].expand(*best.shape[:2], -1, -1, -1).gather(-1, where[..., None])
    )
    empty = best_y.isnan() | best_x.isnan()
    best_y, best_x = (at.masked_fill(empty, -1).squeeze(-1) for at in (best_y, best_x))
    return best.masked_fill(empty.squeeze(-1), 0), best_y, best_x


def _corners(
    y: Tensor, x: Tensor, height: int, width: int
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return weight, row and column of the four pixels around each point.

    A point further than one pixel outside the map weighs 0 everywhere; one nearer is
    moved onto the border, as mmcv and torchvision do.
    """
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = (at.nan_to_num(0).clamp(min=0) for at in (y, x))
    y, x = y.clamp(max=height - 1), x.clamp(max=width - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, across = y - top, x - left
    return [
        (inside * (1 - down) * (1 - across), top, left),
        (inside * (1 - down) * across, top, right),
        (inside * down * (1 - across), bottom, left),
        (inside * down * across, bottom, right),
    ]


def _scatter_to_corners(
    grad: Tensor, image: Tensor, y: Tensor, x: Tensor, like: Tensor
) -> Tensor:
    """Spread (K, C, ph, pw) gradients to the four pixels around each argmax."""
    total = torch.zeros_like(like, dtype=grad.dtype)
    channel = torch.arange(like.size(1), device=like.device)[:, None, None]
    sampled = (y != -1) | (x != -1)
    for weight, row, column in _corners(
        at_least_float32(y), at_least_float32(x), *like.shape[-2:]
    ):
        index = (image[:, None, None, None].expand_as(row), channel.expand_as(row))
        total.index_put_(
            (*index, row, column), grad * weight * sampled, accumulate=True
        )
    return total
