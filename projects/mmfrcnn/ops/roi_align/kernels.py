"""The programs of RoIAlign over all pyramid levels, and of its gradient.

RoIAlign is linear in the features and separable: output cell (i, j) is the sum over the
feature rows y and columns x that it touches of

    share(y, i) * share(x, j) * feature(y, x)

where a share sums the bilinear weights of the cell's sample points along one axis
(He et al. 2017, section 3). Neighbouring points share rows and columns, so this reads
(T + 1)^2 features for T x T points that are at most a feature apart, not 4 T^2. The
gradient is the same sum read the other way: each feature gathers from the cells that
touch it, in one order. It needs no atomic addition and no zeros to add to, and is equal
to the bit in every run.

Positions, shares and sums are float32, whatever the features are. Maps are read and
written channels last: what lies side by side is read side by side.

Shapes: N images, L levels, K regions, C channels, S output size. Of an ``axis``: where
the region starts and the length of a cell, in features; sample points of a cell.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Sample points, where the size of a region asks for several, are more than half a
# feature apart, so that fewer than this lie within the reach of one feature.
POINTS_IN_REACH = tl.constexpr(8)


@triton.jit
def align_kernel(
    maps,
    heights,
    widths,
    scales,
    rois,
    levels,
    pooled,
    images,
    channels: tl.constexpr,
    size: tl.constexpr,
    ratio: tl.constexpr,
    aligned: tl.constexpr,
    cells: tl.constexpr,
    block: tl.constexpr,
):
    """Pool one row of cells of one region, and a block of channels."""
    region = (tl.program_id(0) // size).to(tl.int64)
    row = tl.program_id(0) % size
    cell = tl.arange(0, cells)
    channel = tl.program_id(1) * block + tl.arange(0, block)
    level = tl.load(levels + region)
    features, height, width, scale = _map(level, maps, heights, widths, scales)
    down = _axis(rois, region, 1, scale, size, ratio, aligned)
    across = _axis(rois, region, 0, scale, size, ratio, aligned)
    image = tl.load(rois + region * 5)
    exists = (level >= 0) & (level < len(maps)) & (image >= 0) & (image < images)

    total = tl.zeros([cells, block], tl.float32)
    if exists & (down[2] > 0) & (across[2] > 0):
        first_row = image.to(tl.int64) * height.to(tl.int64)
        top, rows = _touched(row, down, height)
        left, columns = _touched(cell, across, width)
        for step in range(columns):
            x = left + step
            column_share = _share(x, cell, across, width, ratio) * (cell < size)
            for y in range(top, top + rows):
                share = column_share * _share(y, row, down, height, ratio)
                place = (first_row + y) * width.to(tl.int64) + x
                value = tl.load(
                    features + place[:, None] * channels + channel[None, :],
                    # What has no share may lie outside the map.
                    mask=(share != 0)[:, None] & (channel < channels)[None, :],
                    other=0.0,
                )
                total += share[:, None] * value.to(tl.float32)
    place = ((region * channels + channel[None, :]) * size + row) * size + cell[:, None]
    tl.store(
        pooled + place,
        total.to(pooled.dtype.element_ty),
        mask=(cell < size)[:, None] & (channel < channels)[None, :],
    )


@triton.jit
def backward_kernel(
    maps,
    heights,
    widths,
    scales,
    rois,
    order,
    bounds,
    grad,
    images,
    channels: tl.constexpr,
    size: tl.constexpr,
    ratio: tl.constexpr,
    aligned: tl.constexpr,
    tile: tl.constexpr,
    block: tl.constexpr,
    chunk: tl.constexpr,
):
    """Write the gradient of one tile of a map, and a block of channels."""
    level, image, top, left = _place(heights, widths, images, tile)
    features, height, width, scale = _map(level, maps, heights, widths, scales)
    channel = tl.program_id(1) * block + tl.arange(0, block)
    bounds += level * tl.cast(images, tl.int32) + image
    begin, end = tl.load(bounds).to(tl.int32), tl.load(bounds + 1).to(tl.int32)

    total = tl.zeros([tile, tile, block], tl.float32)
    for first in range(begin, end, chunk):
        # The few of these regions that touch the tile, as bits.
        region = first + tl.arange(0, chunk)
        listed = tl.minimum(region, end - 1)
        down = _axis(rois, listed, 1, scale, size, ratio, aligned)
        across = _axis(rois, listed, 0, scale, size, ratio, aligned)
        hit = (region < end) & (down[2] > 0) & (across[2] > 0)
        hit &= _near(down[0], down[1] * size, top, tile)
        hit &= _near(across[0], across[1] * size, left, tile)
        hits = tl.sum(hit.to(tl.int32) << tl.arange(0, chunk))
        for bit in range(chunk):
            if (hits >> bit) & 1 != 0:
                total = _gather(
                    total,
                    top,
                    left,
                    _axis(rois, first + bit, 1, scale, size, ratio, aligned),
                    _axis(rois, first + bit, 0, scale, size, ratio, aligned),
                    height,
                    width,
                    grad,
                    tl.load(order + first + bit) * size * size,
                    channel,
                    channels,
                    size,
                    ratio,
                )
    y, x = top + tl.arange(0, tile), left + tl.arange(0, tile)
    first_row = image.to(tl.int64) * height.to(tl.int64)
    place = (first_row + y[:, None]) * width.to(tl.int64) + x[None, :]
    inside = (y < height)[:, None] & (x < width)[None, :]
    tl.store(
        features + place[:, :, None] * channels + channel[None, None, :],
        total.to(features.dtype.element_ty),
        mask=inside[:, :, None] & (channel < channels)[None, None, :],
    )


@triton.jit
def _gather(
    total,
    top,
    left,
    down,
    across,
    height,
    width,
    grad,
    first,
    channel,
    channels: tl.constexpr,
    size: tl.constexpr,
    ratio: tl.constexpr,
):
    """Add to a tile what the cells of a region, from a first one on, pass back."""
    tile: tl.constexpr = total.shape[0]
    for row in range(size):
        if _near(down[0] + row * down[1], down[1], top, tile):
            line = tl.zeros([tile, total.shape[2]], tl.float32)
            for column in range(size):
                if _near(across[0] + column * across[1], across[1], left, tile):
                    value = tl.load(
                        grad + (first + row * size + column) * channels + channel,
                        mask=channel < channels,
                        other=0.0,
                    )
                    x = left + tl.arange(0, tile)
                    share = _share(x, column, across, width, ratio)
                    line += share[:, None] * value.to(tl.float32)[None, :]
            share = _share(top + tl.arange(0, tile), row, down, height, ratio)
            total += share[:, None, None] * line[None, :, :]
    return total


@triton.jit
def _axis(
    rois,
    region,
    axis: tl.constexpr,
    scale,
    size: tl.constexpr,
    ratio: tl.constexpr,
    aligned: tl.constexpr,
):
    """Lay sample points over regions along axis x, 0, or y, 1.

    There are none, so that nothing is pooled, where a coordinate is not finite.
    """
    near = tl.load(rois + region * 5 + 1 + axis) * scale
    far = tl.load(rois + region * 5 + 3 + axis) * scale
    finite = tl.abs(near) + tl.abs(far) < float('inf')
    if aligned:
        start = near - 0.5
        extent = (far - 0.5) - start
    else:
        start = near
        extent = tl.maximum(far - near, 1.0)
    # Rounded as everywhere else: the number of points depends on it.
    stretch = tl.div_rn(extent, size + 0.0)
    if ratio > 0:
        points = tl.where(finite, ratio + 0.0, 0.0)
    else:
        points = tl.where(finite, tl.ceil(stretch), 0.0)
    return start, stretch, points


@triton.jit
def _touched(cell, axis, length):
    """First row or column of a map that a cell touches, and a bound on how many."""
    start, stretch, points = axis[0], axis[1], axis[2]
    step = stretch / points
    origin = start + cell * stretch
    first = tl.minimum(origin + 0.5 * step, origin + (points - 0.5) * step)
    first = tl.floor(tl.minimum(tl.maximum(first, 0.0), length - 1))
    count = tl.minimum(tl.ceil(tl.abs(step) * (points - 1)) + 2, length)
    return first.to(tl.int32), count.to(tl.int32)


@triton.jit
def _share(place, cell, axis, length, ratio: tl.constexpr):
    """Share of row or column ``place`` of a map in output cell ``cell``.

    A sample point within a feature of the map's edge counts as on it, one farther out
    counts nothing.
    """
    start, stretch, points = axis[0], axis[1], axis[2]
    reach: tl.constexpr = ratio if ratio > POINTS_IN_REACH else POINTS_IN_REACH
    step = stretch / points
    origin = start + cell * stretch
    share = (place + origin) * 0.0
    skipped = share
    if points > reach:
        skipped = tl.floor((place - 1 - origin) / step) - 1
        skipped = tl.minimum(tl.maximum(skipped, 0.0), points - reach)
    for point in range(tl.minimum(points, reach).to(tl.int32)):
        position = origin + (skipped + point + 0.5) * step
        inside = (position >= -1) & (position <= length)
        nearest = tl.minimum(tl.maximum(position, 0.0), length - 1)
        weight = tl.maximum(1 - tl.abs(nearest - place), 0.0)
        share += tl.where(inside, weight, 0.0)
    return share / points


@triton.jit
def _near(start, length, first, count):
    """Whether an interval may touch any of so many rows or columns from a first on."""
    low, high = tl.minimum(start, start + length), tl.maximum(start, start + length)
    return (high > first - 1) & (low < first + count)


@triton.jit
def _map(level, maps, heights, widths, scales):
    """Return what belongs to one level."""
    features, scale = maps[0], tl.cast(scales[0], tl.float32)
    height, width = tl.cast(heights[0], tl.float32), tl.cast(widths[0], tl.float32)
    for index in tl.static_range(1, len(maps)):
        features = tl.where(level == index, maps[index], features)
        height = tl.where(level == index, heights[index], height)
        width = tl.where(level == index, widths[index], width)
        scale = tl.where(level == index, scales[index], scale)
    return features, height, width, scale


@triton.jit
def _place(heights, widths, images, tile: tl.constexpr):
    """Level, image and corner of a program's tile: level by level, image by image."""
    number = tl.program_id(0)
    images = tl.cast(images, tl.int32)
    level = 0
    down, across = _tiles(heights[0], tile), _tiles(widths[0], tile)
    for index in tl.static_range(1, len(heights)):
        later = (level == index - 1) & (number >= images * down * across)
        number = tl.where(later, number - images * down * across, number)
        level = tl.where(later, index, level)
        down = tl.where(later, _tiles(heights[index], tile), down)
        across = tl.where(later, _tiles(widths[index], tile), across)
    image = number // (down * across)
    return level, image, number // across % down * tile, number % across * tile


@triton.jit
def _tiles(length, tile: tl.constexpr):
    return tl.cdiv(tl.cast(length, tl.int32), tile)
