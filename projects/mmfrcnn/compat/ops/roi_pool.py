"""RoIPool (Girshick, 2015): the largest value of each bin, on mmcv's unrounded bins.

torchvision's RoIPool rounds the RoI to whole pixels first; mmcv's does not, so this is
plain torch. Shapes: input (N, C, H, W), rois (K, 5) = (image, x1, y1, x2, y2), output
and argmax (K, C, ph, pw); argmax is the pixel's index into H * W, -1 for an empty bin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.compat.ops.precision import at_least_float32

CHUNK_ELEMENTS = 2**24  # gathered values held at once (64 MB in float32)


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the largest value of each bin into ``output``, its place into ``argmax``."""
    boxes = at_least_float32(rois)
    height, width = input.shape[-2:]
    rows = _bin_pixels(boxes[:, [2, 4]], pooled_height, spatial_scale, height)
    columns = _bin_pixels(boxes[:, [1, 3]], pooled_width, spatial_scale, width)
    per_roi = input.size(1) * rows[0].numel() * columns[0].numel() if len(rois) else 1
    for part in torch.arange(len(rois)).split(
        max(1, CHUNK_ELEMENTS // max(1, per_roi))
    ):
        chunk = slice(int(part[0]), int(part[-1]) + 1)
        image = boxes[chunk, 0].long()
        best, where = _max_pixel(input, image, rows[chunk], columns[chunk])
        output[chunk], argmax[chunk] = best, where.to(argmax.dtype)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add every bin's gradient to the pixel it came from, in ``grad_input``."""
    grad = at_least_float32(grad_output).masked_fill(argmax < 0, 0)
    num_images, num_channels, height, width = grad_input.shape
    image = rois[:, 0].long()[:, None, None, None]
    channel = torch.arange(num_channels, device=rois.device)[:, None, None]
    pixel = (image * num_channels + channel) * (height * width) + argmax.clamp(min=0)
    total = grad.new_zeros(grad_input.numel())
    total.index_add_(0, pixel.flatten(), grad.flatten())
    grad_input.copy_(total.view_as(grad_input))


def _bin_pixels(edges: Tensor, bins: int, spatial_scale: float, size: int) -> Tensor:
    """Return the pixels of each bin along one axis, (K, bins, S) int64.

    S is the longest bin's length; shorter bins repeat their last pixel, which leaves
    the max as it is. An empty bin is -1 throughout.
    """
    start, end = edges[:, 0] * spatial_scale, (edges[:, 1] + 1) * spatial_scale
    bin_size = ((end - start) / bins)[:, None]
    place = torch.arange(bins + 1, device=edges.device)
    first = (place[:-1] * bin_size + start[:, None]).floor().clamp(0, size).long()
    last = (place[1:] * bin_size + start[:, None]).ceil().clamp(0, size).long() - 1
    longest = int((last - first).max()) + 1 if len(edges) else 1
    pixels = first[..., None] + torch.arange(max(longest, 1), device=edges.device)
    pixels = torch.minimum(pixels, last[..., None])
    empty = (last < first) | (end <= start)[:, None]
    return pixels.masked_fill(empty[..., None], -1)


def _max_pixel(
    feats: Tensor, image: Tensor, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each bin's largest value and its pixel, each (K, C, ph, pw).

    Args:
        feats (Tensor): (N, C, H, W).
        image (Tensor): (K,) index into N.
        rows (Tensor): (K, ph, Sy) pixels, -1 for none.
        columns (Tensor): (K, pw, Sx) pixels, -1 for none.
    """
    row, column = rows[:, :, None, :, None], columns[:, None, :, None, :]
    # (K, ph, pw, Sy, Sx, C): indexing puts the channel, which is sliced, last.
    values = feats[image[:, None, None, None, None], :, row.clamp(0), column.clamp(0)]
    best, where = values.flatten(3, 4).movedim(-1, 1).max(dim=-1)  # (K, C, ph, pw)
    pixel = (row * feats.size(-1) + column).flatten(3)[:, None]  # (K, 1, ph, pw, S)
    pixel = pixel.expand(-1, feats.size(1), -1, -1, -1)
    pixel = pixel.gather(-1, where[..., None]).squeeze(-1)
    empty = (row < 0).flatten(3)[..., 0] | (column < 0).flatten(3)[..., 0]
    empty = empty[:, None].expand_as(best)
    return best.masked_fill(empty, 0), pixel.masked_fill(empty, -1)
