"""RoIAlign as a weighted gather: the fast path on a CPU.

Every output cell of RoIAlign is a weighted sum of feature vectors, four corners for
each sample point (He et al. 2017, section 3). With a level laid out as rows of a table,
that is what `embedding_bag` computes: one call forward and one backward for all images
and regions of a level, where torchvision's CPU kernel goes region by region.

Neighbouring sample points share corners, and corners on the edge of a map or of a
feature weigh nothing. Weights are separable, so both are sorted out along each axis,
where there are few, before rows and columns are multiplied out: a feature vector is
read once a cell, and none for nothing. What is large is made once: the table is a view
of maps that are channels last, and a level's results go to their regions' places.

Shapes: N images, L levels, K regions, C channels, S output size, T sample points along
an axis of a cell. Axes are y, x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def gather_align(
    feats: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: Sequence[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Pool each region from its level; torchvision's ``roi_align`` defines the result.

    Args:
        feats (Sequence[Tensor]): L feature maps, each (N, C, H_l, W_l).
        rois (Tensor): (image, x1, y1, x2, y2) in input pixels, shape (K, 5).
        levels (Tensor): Level of each region, int64, shape (K,).
        scales (Sequence[float]): Features a pixel, of each level.
        output_size (int): S.
        sampling_ratio (int): T; not positive: as many as feature cells in an output
            cell, rounded up.
        aligned (bool): Whether feature i stands at (i + 0.5) * stride.

    Returns:
        Tensor: Shape (K, C, S, S). As with torchvision's, ``rois`` get no gradient.
    """
    known = rois.isfinite().all(1) & (levels >= 0) & (levels < len(feats))
    levels = levels.masked_fill(~known, 0)
    order = levels.argsort(stable=True)
    rois, levels, known = rois.detach()[order], levels[order], known[order]
    counts = levels.bincount(minlength=len(feats)).tolist()

    sides = torch.tensor([level.shape[2:] for level in feats])[levels]  # (K, 2)
    scale = torch.tensor(scales, dtype=feats[0].dtype)[levels]
    boxes = rois[:, 1:].masked_fill(~known[:, None], 0).to(scale.dtype)
    corners = boxes.view(-1, 2, 2) * scale[:, None, None]
    start, end = (corners - 0.5 * aligned).flip(-1).unbind(1)  # each (K, 2)
    extent = end - start
    if not aligned:
        extent = extent.clamp(min=1)
    points = torch.full_like(extent, sampling_ratio)
    if sampling_ratio <= 0:
        points = (extent / output_size).ceil()
    # A region without extent along one axis has no points.
    points *= (known & (points > 0).all(1))[:, None]

    touched = _touched(start, extent, points, sides, output_size)
    base = rois[:, 0].long() * sides.prod(1)
    index, weight, sizes = _multiply_out(*touched, base, sides[:, 1])
    ends = F.pad(sizes.cumsum(0), (1, 0))  # of bags, after one that is none
    parts, cell = [], 0
    for level, count in zip(feats, counts, strict=True):
        bags = ends[cell : cell + count * output_size**2 + 1]
        here = slice(int(bags[0]), int(bags[-1]))
        parts.append(
            F.embedding_bag(
                index[here],
                level.permute(0, 2, 3, 1).contiguous().flatten(0, 2),
                bags[:-1] - bags[0],
                mode='sum',
                per_sample_weights=weight[here],
            )
        )
        cell += len(bags) - 1
    return _Placed.apply(order.split(counts), output_size, *parts)


def _touched(
    start: Tensor, extent: Tensor, points: Tensor, sides: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns of the map that each cell touches, and their shares in it.

    Args:
        start (Tensor): Upper left corner in features, shape (K, 2).
        extent (Tensor): Height and width in features, shape (K, 2).
        points (Tensor): Sample points of a cell, whole numbers, shape (K, 2).
        sides (Tensor): Height and width of the map, int64, shape (K, 2).
        size (int): S.

    Returns:
        tuple: rows or columns, int64, and shares, region by region, axis by axis, cell
        by cell; how many there are of each, int64, (K, 2, S).
    """
    stretch = (extent / size)[..., None]  # (K, 2, 1), of a cell
    origin = start[..., None] + torch.arange(size) * stretch  # (K, 2, S)
    # Of a region that is inside out, too, points are listed from its lower end on.
    origin, stretch = origin + stretch.clamp(max=0), stretch.abs()
    count = points.clamp(min=1)[..., None]
    # Where a cell is much longer than the map, those of its points that may lie on it.
    step = stretch.clamp(min=1e-6) / count
    most = _largest(torch.minimum(count, (sides[..., None] + 1) / step + 3))
    skipped = ((-1 - origin) / step - 1).floor().clamp(min=0)
    skipped = skipped.minimum((count - most).clamp(min=0))
    point = skipped[..., None] + torch.arange(most)  # (K, 2, S, T)
    used = point < points[..., None, None]
    point = point.minimum(count[..., None] - 1)
    # torchvision's order of operations, so that positions round alike.
    position = origin[..., None] + (point + 0.5) * stretch[..., None] / count[..., None]

    last = (sides - 1)[..., None, None]
    inside = used & (position >= -1) & (position <= last + 1)
    position = torch.minimum(position.clamp(min=0), last.to(position.dtype))
    low = position.floor()
    share, weight = position - low, inside / count[..., None]
    first = low[..., :1]
    place = (low - first).long()
    shares = weight.new_zeros(*origin.shape, _largest(place) + 2)
    shares.scatter_add_(-1, place, (1 - share) * weight)
    shares.scatter_add_(-1, place + 1, share * weight)
    live = shares != 0
    places = first.long() + torch.arange(shares.shape[-1])
    return places[live], shares[live], live.sum(-1)


def _multiply_out(
    place: Tensor, share: Tensor, number: Tensor, base: Tensor, width: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Feature vectors of every cell: each row that it touches by each column.

    Args:
        place (Tensor): Rows and columns, as :func:`_touched` lists them.
        share (Tensor): Their shares.
        number (Tensor): How many there are, (K, 2, S).
        base (Tensor): First row of the table that belongs to a region's image, (K,).
        width (Tensor): Of the region's map, (K,).

    Returns:
        tuple: rows of the table, int64, and weights, one bag after the other; sizes of
        the bags, int64, (K * S * S,).
    """
    size = number.shape[2]
    begin = (number.flatten().cumsum(0) - number.flatten()).view_as(number)
    tall, top = (each[:, 0, :, None].expand(-1, -1, size) for each in (number, begin))
    wide, left = (each[:, 1, None].expand(-1, size, -1) for each in (number, begin))
    tall, top, wide, left = (each.flatten() for each in (tall, top, wide, left))
    cell, y = _ranges(top, tall)  # lines of cells: a row each
    line, x = _ranges(left[cell], wide[cell])
    region = cell // size**2
    row = place[y] * width[region] + base[region]
    index = row.index_select(0, line) + place.index_select(0, x)
    weight = share[y].index_select(0, line) * share.index_select(0, x)
    return index, weight, tall * wide


def _ranges(first: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Count ``length`` up from ``first``, one after the other; whose each number is."""
    owner = torch.repeat_interleave(length)
    shift = first - (length.cumsum(0) - length)
    return owner, torch.arange(len(owner)) + shift.index_select(0, owner)


def _largest(values: Tensor) -> int:
    """Of no values, 1, which is no size to stumble over."""
    return int(values.max()) if values.numel() else 1


class _Placed(torch.autograd.Function):
    """Rows of cells, level by level, at the places of their regions.

    The copy that brings them there also lays channels before cells, as linear layers
    want them.
    """

    @staticmethod
    def forward(
        ctx: Any, regions: tuple[Tensor, ...], size: int, *parts: Tensor
    ) -> Tensor:
        """Place (K_l * S * S, C) of each level at its regions, K_l: (K, C, S, S)."""
        ctx.regions = regions
        count, channels = sum(map(len, regions)), parts[0].shape[1]
        pooled = parts[0].new_empty(count, channels, size * size)
        for places, part in zip(regions, parts, strict=True):
            cells = part.view(len(places), size * size, channels)
            pooled.index_copy_(0, places, cells.transpose(1, 2))
        return pooled.view(count, channels, size, size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Take the rows of each level back."""
        rows = grad.flatten(2)
        return (
            None,
            None,
            *(rows[places].transpose(1, 2).flatten(0, 1) for places in ctx.regions),
        )
