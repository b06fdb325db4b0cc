"""A Triton kernel: one program settles whole groups, tile after tile of their boxes.

The boxes of a tile are compared with the kept ones of their groups before it, then with
each other until nothing changes. Of a group of n boxes that is n * n / 2 pairs, and a
tile may hold many small groups. Programs share nothing.

Pairs are compared in single precision, with a bound on what rounding may have changed;
a tile with a pair within that bound is compared again in double precision, of which
most cards do a sixty-fourth as much in the same time.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmfrcnn.ops.nms import reference
from mmfrcnn.ops.nms.line import line_up
from mmfrcnn.ops.nms.overlap import single_threshold

# Boxes a tile, and the program's share of places where a group may begin.
TILE = 64
WARPS = 8


def grouped_nms(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    iou_threshold: float,
    largest_group: int | None = None,
    num_groups: int | None = None,
) -> Tensor:
    """Suppress within groups; see :func:`mmfrcnn.ops.nms.grouped_nms`."""
    count = len(groups)
    threshold = single_threshold(iou_threshold)
    # What nobody asks for is no matter of speed: boxes of double precision, and that
    # boxes which do not meet suppress each other.
    if not count or boxes.dtype == torch.float64 or not threshold >= 0:
        return reference.grouped_nms(
            boxes, scores, groups, iou_threshold, largest_group, num_groups
        )
    order, start = line_up(scores, groups)
    x1, y1, x2, y2 = boxes.float().t().index_select(1, order).unbind()
    keep = torch.empty_like(groups, dtype=torch.bool)
    with torch.cuda.device_of(boxes):
        settle[(triton.cdiv(count, TILE),)](
            x1,
            y1,
            x2,
            y2,
            start.int(),
            keep.view(torch.int8),
            count,
            threshold,
            threshold / (1 + threshold),
            tile=TILE,
            num_warps=WARPS,
            num_stages=1,
            enable_fp_fusion=False,
        )
    return torch.empty_like(keep).index_copy_(0, order, keep)


def self_check(device: torch.device) -> None:
    """Raise where the kernel decides unlike the plain operators.

    A few large groups and many small ones, ties of scores and of IoU with the
    threshold, and boxes that are none.
    """
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(12, (400, 2), generator=generator)
    side = torch.randint(1, 6, (400, 2), generator=generator)
    boxes = torch.cat([corner, corner + side], 1) * 8.0
    boxes[::3] += torch.rand(134, 4, generator=generator)
    boxes[::50, 2] = float('nan')
    scores = torch.randint(100, (400,), generator=generator) / 100
    groups = (torch.rand(400, generator=generator) ** 4 * 60).long()
    arguments = boxes.to(device), scores.to(device), groups.to(device), 0.5
    wrong = grouped_nms(*arguments) != reference.grouped_nms(*arguments)
    if wrong.any():
        raise RuntimeError(f'{int(wrong.sum())} of 400 boxes are decided otherwise')


@triton.jit
def settle(x1, y1, x2, y2, start, keep, count, threshold, share, tile: tl.constexpr):
    """Settle the groups that begin at this program's places of the line.

    Args:
        x1: Left sides of the boxes in line, float32, shape (M,).
        y1: Upper sides.
        x2: Right sides.
        y2: Lower sides.
        start: Place where each box's group begins, int32, shape (M,).
        keep: Written: 1 where the box is kept, int8, shape (M,).
        count: M.
        threshold: IoU, float32.
        share: The threshold over 1 + itself, float32.
        tile: Boxes a tile.
    """
    line = (x1, y1, x2, y2)
    within = tl.arange(0, tile)
    place = tl.program_id(0) * tile + within
    begins = tl.load(start + place, mask=place < count, other=-1) == place
    last = tl.max(tl.where(begins, place, -1))  # where the last of the groups begins
    at = tl.min(tl.where(begins, place, count))
    while at < count:
        rows = at + within
        group = tl.load(start + rows, mask=rows < count, other=count)
        mine = group <= last
        boxes = load_boxes(line, rows[:, None], mine[:, None])

        # Only the last group goes on after the first tile.
        hit = tl.zeros((tile, tile), tl.int1)
        for first in range(last, at, tile):
            columns = first + within
            kept = tl.load(keep + columns, mask=columns < at, other=0) != 0
            asked = kept[None, :] & mine[:, None]
            hit |= overlaps(line, rows, boxes, columns, asked, count, threshold, share)
        gone = tl.max(hit.to(tl.int32), 1)

        asked = (rows[None, :] < rows[:, None]) & (rows[None, :] >= group[:, None])
        over = overlaps(line, rows, boxes, rows, asked, count, threshold, share)
        # Right for the first box, then for one more each time; mostly for all soon.
        suppressed = gone
        changes = 1
        while changes > 0:
            active = over & (suppressed[None, :] == 0)
            found = tl.maximum(gone, tl.max(active.to(tl.int32), 1))
            changes = tl.max(found ^ suppressed)
            suppressed = found
        tl.store(keep + rows, (1 - suppressed).to(tl.int8), mask=mine)
        # What other threads of the program stored is seen after this.
        tl.debug_barrier()
        at = tl.where(tl.min(mine.to(tl.int32)) > 0, at + tile, count)


@triton.jit
def load_boxes(line, place, mask):
    """Return the four sides of the boxes at places of the line, each of their shape."""
    return (
        tl.load(line[0] + place, mask=mask, other=0),
        tl.load(line[1] + place, mask=mask, other=0),
        tl.load(line[2] + place, mask=mask, other=0),
        tl.load(line[3] + place, mask=mask, other=0),
    )


@triton.jit
def overlaps(line, rows, boxes, columns, asked, count, threshold, share):
    """Say which of the pairs asked for have an IoU above the threshold.

    ``common / (both - common) > threshold`` is ``common > share * both``. In single
    precision, u = 2 ** -24, the left side is off by 3 u of itself at the most and the
    right one by 6 u, or by less than 1e-30 where numbers are tiny; a difference of 8 u
    of their sum is beyond doubt. Boxes that do not meet have IoU 0.
    """
    x1, y1, x2, y2 = boxes
    u1, v1, u2, v2 = load_boxes(line, columns[None, :], columns[None, :] < count)
    width = tl.minimum(x2, u2) - tl.maximum(x1, u1)
    height = tl.minimum(y2, v2) - tl.maximum(y1, v1)
    common = width * height
    enough = ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1)) * share
    meet = asked & (width > 0) & (height > 0)
    clear = tl.abs(common - enough) > (common + enough) * 2.0**-21 + 1e-30
    over = meet & (common > enough)
    doubt = meet & ~clear
    row = tl.min(tl.where(doubt, rows[:, None], count))
    while row < count:
        exact = overlaps_in_double(line, row, columns, count, threshold)
        here = rows[:, None] == row
        over = tl.where(here, asked & exact[None, :], over)
        doubt = doubt & ~here
        row = tl.min(tl.where(doubt, rows[:, None], count))
    return over


@triton.jit
def overlaps_in_double(line, row, columns, count, threshold):
    """Compare as :func:`mmfrcnn.ops.nms.overlap.overlaps` does, in the same order."""
    x1, y1, x2, y2 = load_boxes(line, row, True)
    u1, v1, u2, v2 = load_boxes(line, columns, columns < count)
    width = distance(tl.maximum(x1, u1), tl.minimum(x2, u2))
    height = distance(tl.maximum(y1, v1), tl.minimum(y2, v2))
    common = tl.maximum(width, 0.0) * tl.maximum(height, 0.0)
    both = distance(x1, x2) * distance(y1, y2) + distance(u1, u2) * distance(v1, v2)
    return common / (both - common) > threshold


@triton.jit
def distance(low, high):
    """Return high - low in double precision."""
    return high.to(tl.float64) - low.to(tl.float64)
