"""A Triton kernel that streams over the ground truths: no pair is ever stored.

A program holds a block of consecutive priors in registers and goes through the ground
truths of its image. Anchors that follow each other lie side by side, so most ground
truths miss the bounding box of the block: their IoU is 0 without being computed. The
best prior of a ground truth is known when all programs are through, so a second launch
looks for those that tie with it. What is allocated is the result and one number a
ground truth.

Bits are those of :func:`~mmfrcnn.ops.iou.pairwise_iou`: the same operations in the same
order, a division that rounds to nearest, and no multiplication fused with an addition.
An IoU is compared by its bits: from 0 on, floats order as integers, and an integer's
maximum does not depend on the order in which programs arrive.

Shapes: N images, S priors, G ground-truth slots.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmfrcnn.ops.iou import SMALLEST_UNION, pairwise_iou
from mmfrcnn.ops.match import reference

# Priors a program: one warp, four each lane, so that no warp waits for another.
BLOCK = 128
TILE = 32  # ground truths that are looked at together: one a lane
# Numbers of ground truths and of proposals change, and no compilation waits for that.
SIZES = ('count', 'slots', 'stride')
LAUNCH = dict(num_warps=1, enable_fp_fusion=False)

SMALLEST = tl.constexpr(SMALLEST_UNION)
NAN = tl.constexpr(0x7FC00000)  # above the bits of every other IoU
NOBODY = tl.constexpr(-1)  # below them: of a prior that takes no part
LOW = tl.constexpr(0xFFFFFFFF)


def match(
    priors: Tensor,
    gt_boxes: Tensor,
    gt_mask: Tensor,
    excluded: Tensor | None,
    min_best_iou: float | None,
    all_ties: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Launch one pass or two; see :func:`mmfrcnn.ops.match.match_boxes`."""
    images, slots = gt_mask.shape
    count = priors.shape[1]
    shape = images, count
    max_iou = priors.new_empty(shape)
    nearest = torch.empty(shape, dtype=torch.int32, device=priors.device)
    wants_best = min_best_iou is not None
    best = best_of = nearest  # not looked at unless it is wanted
    if wants_best:
        best = torch.full((images, slots), -1, dtype=torch.int64, device=priors.device)
        best_of = torch.empty_like(nearest)
    given = (
        priors.contiguous(),
        gt_boxes.contiguous(),
        gt_mask.contiguous(),
        gt_mask if excluded is None else excluded.contiguous(),
    )
    sizes = count, slots, 0 if len(priors) == 1 else count
    # With a threshold of 0 also the best of a ground truth that nobody overlaps counts.
    options = dict(
        has_excluded=excluded is not None,
        every=wants_best and min_best_iou <= 0,
        block=BLOCK,
        width=TILE,
        **LAUNCH,
    )
    grid = triton.cdiv(count, BLOCK), images
    with torch.cuda.device_of(priors):
        if count:
            nearest_kernel[grid](
                *given, max_iou, nearest, best, *sizes, find_best=wants_best, **options
            )
        if count and wants_best:
            ties_kernel[grid](
                *given,
                best,
                best_of,
                *sizes,
                min_best_iou,
                all_ties=all_ties,
                **options,
            )
    return max_iou, nearest, best_of if wants_best else None


@triton.jit(do_not_specialize=SIZES)
def nearest_kernel(
    priors,  # (N or 1, S, 4)
    gt_boxes,  # (N, G, 4)
    gt_mask,  # (N, G)
    excluded,  # (N, S)
    max_iou,  # out, (N, S)
    nearest,  # out, (N, S)
    best,  # in: -1; out: bits of the best IoU, then LOW ^ its first prior; (N, G)
    count,
    slots,
    stride,
    has_excluded: tl.constexpr,
    find_best: tl.constexpr,
    every: tl.constexpr,
    block: tl.constexpr,
    width: tl.constexpr,
):
    """Find the nearest ground truth of each prior, and the best IoU of each."""
    image = tl.program_id(1).to(tl.int64)
    gt_boxes += image * slots * 4
    gt_mask += image * slots
    best += image * slots
    place, u1, v1, u2, v2, area = _block(priors + image * stride * 4, count, block)
    bounds = _bounds(u1, v1, u2, v2, area)
    out = _is_out(excluded, image * count + place, has_excluded, block)
    # Nobody overlaps a prior less than this, empty slots neither.
    largest = tl.where(area == area, 0, NAN).to(tl.int32)
    first = tl.zeros([block], tl.int32)
    for start in range(0, slots, width):
        tile = start + tl.arange(0, width)
        wanted = tl.load(gt_mask + tile, tile < slots, 0) != 0
        wanted = _met(gt_boxes, tile, wanted, *bounds, every)
        slot = tl.min(tl.where(wanted, tile, slots))
        while slot < slots:
            iou = _iou(gt_boxes + slot * 4, u1, v1, u2, v2, area, out)
            first = tl.where(iou > largest, slot, first)
            largest = tl.maximum(largest, iou)
            if find_best:
                key = (iou.to(tl.int64) << 32) | (place.to(tl.int64) ^ LOW)
                tl.atomic_max(best + slot, tl.max(key), sem='relaxed')
            slot = tl.min(tl.where(wanted & (tile > slot), tile, slots))
    where = image * count + place
    result = tl.where(out, -1.0, largest.to(tl.float32, bitcast=True))
    tl.store(max_iou + where, result)
    tl.store(nearest + where, first)


@triton.jit(do_not_specialize=SIZES)
def ties_kernel(
    priors,
    gt_boxes,
    gt_mask,
    excluded,
    best,  # as the other kernel leaves it, (N, G)
    best_of,  # out, (N, S)
    count,
    slots,
    stride,
    min_best_iou,
    has_excluded: tl.constexpr,
    all_ties: tl.constexpr,
    every: tl.constexpr,
    block: tl.constexpr,
    width: tl.constexpr,
):
    """Find the last ground truth that each prior is the best of."""
    image = tl.program_id(1).to(tl.int64)
    gt_boxes += image * slots * 4
    gt_mask += image * slots
    best += image * slots
    place, u1, v1, u2, v2, area = _block(priors + image * stride * 4, count, block)
    bounds = _bounds(u1, v1, u2, v2, area)
    out = _is_out(excluded, image * count + place, has_excluded, block)
    last = tl.full([block], -1, tl.int32)
    for start in range(0, slots, width):
        tile = start + tl.arange(0, width)
        bits = (tl.load(best + tile, tile < slots, -1) >> 32).to(tl.int32)
        score = tl.where(bits < 0, -1.0, bits.to(tl.float32, bitcast=True))
        wanted = tl.load(gt_mask + tile, tile < slots, 0) != 0
        wanted = wanted & (score >= min_best_iou)
        wanted = _met(gt_boxes, tile, wanted, *bounds, every)
        slot = tl.min(tl.where(wanted, tile, slots))
        while slot < slots:
            key = tl.load(best + slot)
            if all_ties:
                iou = _iou(gt_boxes + slot * 4, u1, v1, u2, v2, area, out)
                last = tl.where(iou == (key >> 32), slot, last)
            else:
                last = tl.where(place == (key & LOW) ^ LOW, slot, last)
            slot = tl.min(tl.where(wanted & (tile > slot), tile, slots))
    tl.store(best_of + image * count + place, last)


@triton.jit
def _block(priors, count, block: tl.constexpr):
    """Load a block of priors; lanes beyond the end repeat the last one.

    They find what it finds and write what it writes: the rest need not tell them apart.
    """
    place = tl.program_id(0) * block + tl.arange(0, block)
    place = tl.minimum(place, count - 1)
    box = priors + place.to(tl.int64) * 4
    u1, v1 = tl.load(box), tl.load(box + 1)
    u2, v2 = tl.load(box + 2), tl.load(box + 3)
    return place, u1, v1, u2, v2, (u2 - u1) * (v2 - v1)


@triton.jit
def _is_out(excluded, where, has_excluded: tl.constexpr, block: tl.constexpr):
    if has_excluded:
        return tl.load(excluded + where) != 0
    else:
        return tl.zeros([block], tl.int1)


@triton.jit
def _bounds(u1, v1, u2, v2, area):
    """Return the box around a block; around everything, where any area is not finite.

    Such a prior's IoU may be NaN with a box that it does not meet.
    """
    odd = tl.max((area - area != 0).to(tl.int32)) > 0
    far = float('inf')
    return (
        tl.where(odd, -far, tl.min(u1)),
        tl.where(odd, -far, tl.min(v1)),
        tl.where(odd, far, tl.max(u2)),
        tl.where(odd, far, tl.max(v2)),
    )


@triton.jit
def _met(gt_boxes, tile, wanted, left, top, right, bottom, every: tl.constexpr):
    """Which wanted ground truths of a tile meet the box around a block."""
    if every:
        return wanted
    else:
        box = gt_boxes + tile * 4
        x1, y1 = tl.load(box, wanted, 0), tl.load(box + 1, wanted, 0)
        x2, y2 = tl.load(box + 2, wanted, 0), tl.load(box + 3, wanted, 0)
        met = (left < x2) & (right > x1) & (top < y2) & (bottom > y1)
        whole = (x2 - x1) * (y2 - y1)
        return wanted & (met | (whole != whole))


@triton.jit
def _iou(box, u1, v1, u2, v2, area, out):
    """IoU of one box with a block, as int32 bits: 0 or more, NAN the largest."""
    x1, y1, x2, y2 = tl.load(box), tl.load(box + 1), tl.load(box + 2), tl.load(box + 3)
    # A NaN of a box is in its area too, and so in the union: only there it must stay.
    width = tl.minimum(x2, u2) - tl.maximum(x1, u1)
    height = tl.minimum(y2, v2) - tl.maximum(y1, v1)
    intersection = tl.maximum(width, 0.0) * tl.maximum(height, 0.0)
    union = ((x2 - x1) * (y2 - y1) + area) - intersection
    # Most pairs do not meet, and a dividend of 0 is slow to divide.
    apart = intersection <= 0
    union = tl.maximum(union, SMALLEST, propagate_nan=tl.PropagateNan.ALL)
    iou = tl.div_rn(tl.where(apart, 1.0, intersection), union)
    bits = tl.where(apart, 0, iou.to(tl.int32, bitcast=True))
    bits = tl.where(iou == iou, bits, NAN)
    return tl.where(out, NOBODY, bits)


def self_check(device: torch.device) -> None:
    """Match awkward boxes by the kernel and by plain operators, to the bit.

    Raises:
        AssertionError: If they differ.
    """
    boxes = _awkward(device)
    for min_best_iou in (None, 0.0, 0.3):
        for all_ties in (True, False):
            rules = min_best_iou, all_ties
            found = match(*boxes, *rules)
            expected = reference.match(*boxes, *rules, pairwise_iou)
            for max_iou, nearest, _ in (found, expected):
                nearest.masked_fill_(max_iou.isnan(), 0)  # of no meaning there
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def _awkward(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two images' priors, ground truths, their mask, and who takes no part."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 150, 2, 2, generator=generator).sort(2).values * 90
    priors = corners.flatten(2)
    priors[:, ::2] = (priors[:, ::2] / 30).round() * 30  # ties, and no area
    gt_boxes = priors[:, :9].clone()
    gt_boxes[:, 8] = 0
    priors[:, 140], priors[0, 141, 2], priors[0, 143, 2:] = math.nan, math.inf, 1e30
    gt_mask = torch.ones(2, 9, dtype=torch.bool)
    gt_mask[:, 8] = gt_mask[1, 2:] = False
    gt_boxes[1, 2:] = math.nan  # an empty slot may hold anything
    excluded = torch.rand(2, 150, generator=generator) < 0.1
    excluded[:, 140] = torch.tensor([True, False])  # a NaN that is seen, and one not
    priors, gt_boxes = priors.to(device), gt_boxes.to(device)
    return priors, gt_boxes, gt_mask.to(device), excluded.to(device)
