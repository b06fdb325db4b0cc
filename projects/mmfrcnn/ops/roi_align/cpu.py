"""RoIAlign over all pyramid levels as one weighted gather: the fast path on a CPU.

Every output cell of RoIAlign is a weighted sum of feature vectors, four corners for
each sample point (He et al. 2017, section 3). With all levels laid out as rows of one
table, that is what `embedding_bag` computes: one call forward and one backward for all
images, levels and regions, where torchvision's CPU kernel goes region by region.

Shapes: N images, L levels, K regions, C channels, S output size, T and U sample points
along y and x of a cell, Q rows of the table (all positions of all levels and images).
"""

from __future__ import annotations

from collections.abc import Sequence

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
    rois = rois.detach()
    channels, dtype, device = feats[0].shape[1], feats[0].dtype, rois.device
    table = torch.cat([f.permute(0, 2, 3, 1).reshape(-1, channels) for f in feats])
    shapes = torch.tensor([f.shape[-2:] for f in feats], device=device)  # (L, 2)
    rows = torch.tensor([len(f) * f.shape[-2] * f.shape[-1] for f in feats])
    first_row = (rows.cumsum(0) - rows).to(device)  # (L,)
    scale = torch.tensor(scales, dtype=dtype, device=device)

    height_width = shapes[levels]  # (K, 2)
    corners = rois[:, 1:].to(dtype).view(-1, 2, 2) * scale[levels, None, None]
    start, end = (corners - 0.5 * aligned).flip(-1).unbind(1)  # each (K, 2): y, x
    extent = end - start
    if not aligned:
        extent = extent.clamp(min=1)
    base = first_row[levels] + rois[:, 0].long() * height_width.prod(1)  # (K,)

    points = torch.full_like(height_width, sampling_ratio)  # (K, 2): T along y, x
    if sampling_ratio <= 0:
        points = (extent / output_size).ceil().long().clamp(min=0)
    # A region without extent along one axis has no points. Regions that need equally
    # many along both are laid out together, those without any first.
    points *= (points > 0).all(1, keepdim=True)
    widest = int(points.max()) + 1 if len(rois) else 1
    kind, counts = (points[:, 0] * widest + points[:, 1]).unique(
        return_inverse=True, return_counts=True
    )[1:]
    order = kind.argsort(stable=True)
    indices, weights, sizes = [], [], []
    for group in order.split(counts.tolist()):
        tall, wide = points[group[0]].tolist()
        if tall == 0:
            continue
        index, weight = _cell_rows(
            start[group], extent[group], (tall, wide), height_width[group], output_size
        )
        indices.append((index + base[group, None, None]).view(-1))
        weights.append(weight.view(-1))
        sizes.append(torch.full((len(group) * output_size**2,), index.shape[-1]))
    cells = len(rois) * output_size**2
    if indices:
        bags = torch.cat(sizes).to(device)
        pooled = F.embedding_bag(
            torch.cat(indices),
            table,
            bags.cumsum(0) - bags,
            mode='sum',
            per_sample_weights=torch.cat(weights),
        )
        # Regions without points come first and pool nothing.
        empty = cells - len(pooled)
        pooled = F.pad(pooled, (0, 0, empty, 0)) if empty else pooled
    else:  # Nothing is pooled; the maps still get a gradient, of zeros.
        pooled = table.new_zeros(cells, channels) + 0 * table.sum()
    pooled = pooled.view(len(rois), output_size, output_size, channels)
    return pooled[order.argsort()].permute(0, 3, 1, 2)


def _cell_rows(
    start: Tensor, extent: Tensor, points: tuple[int, int], shape: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Rows and weights of every output cell, relative to the image's first row.

    Args:
        start (Tensor): Upper left corner (y, x) in feature cells, shape (K, 2).
        extent (Tensor): Height and width in feature cells, shape (K, 2).
        points (tuple[int, int]): Sample points a cell along y and x: T, U.
        shape (Tensor): Feature map height and width, int64, shape (K, 2).
        size (int): Output size, S.

    Returns:
        tuple: row indices, int64, and weights, both (K, S * S, 4 * T * U).
    """
    regions = len(start)
    (row, tall), (column, wide) = (
        _corners(start[:, axis], extent[:, axis], count, shape[:, axis], size)
        for axis, count in enumerate(points)
    )  # (K, S, 2 T) along y, (K, S, 2 U) along x
    row = row * shape[:, 1, None, None]
    index = row[:, :, None, :, None] + column[:, None, :, None, :]
    weight = tall[:, :, None, :, None] * wide[:, None, :, None, :]
    return index.view(regions, size**2, -1), weight.view(regions, size**2, -1)


def _corners(
    start: Tensor, extent: Tensor, count: int, length: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Corners and weights of the sample points along one axis.

    Args:
        start (Tensor): First edge in feature cells, shape (K,).
        extent (Tensor): Length of the region in feature cells, shape (K,).
        count (int): Sample points an output cell, T.
        length (Tensor): Length of the feature map, int64, shape (K,).
        size (int): Output size, S.

    Returns:
        tuple: positions, int64, and weights, both (K, S, 2 T).
    """
    cell = torch.arange(size, device=start.device)
    step = torch.arange(count, device=start.device)
    # torchvision's order of operations, so that positions round alike.
    stretch = extent[:, None] / size  # (K, 1), of a cell
    origin = start[:, None] + cell * stretch  # (K, S)
    within = (step + 0.5) * stretch / count  # (K, T)
    position = origin[..., None] + within[:, None]  # (K, S, T)

    last = (length - 1)[:, None, None]
    inside = (position >= -1) & (position <= last + 1)
    position = torch.minimum(position.clamp(min=0), last.to(position.dtype))
    low = position.long()
    high = torch.minimum(low + 1, last)
    share = position - low
    weight = inside / count
    weight = torch.stack([(1 - share) * weight, share * weight], -1).flatten(2)
    return torch.stack([low, high], -1).flatten(2), weight
