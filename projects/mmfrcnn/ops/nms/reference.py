"""Rank after rank, for all groups at once, in plain operators.

A box is suppressed by better ones of its group alone, so what becomes of the boxes of
one rank, the first of each group, the second, ..., depends on the ranks before. A tile
of ranks is settled in two steps: by boxes before the tile, which are settled, all at
once; and among the tile's own boxes by repeating the definition, "suppressed by one
that is not", which is right for one rank more each time.

The device is never asked how many boxes a group holds: of M boxes at most M / (r + 1)
groups reach rank r. So the pairs that are looked at are fewer than the squares of the
groups at their largest together, if their number is told, and never about M * M; the
number of operators grows with ``largest_group`` alone.

Shapes: M boxes, K groups at a time, W ranks a tile, R ranks up to its end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.ops.nms.line import line_up
from mmfrcnn.ops.nms.overlap import overlaps, single_threshold

# Ranks a tile: more are more pairs than needed, fewer are more operators.
TILE = 32
# Pairs at a time, in three buffers of float64: 100 MB.
PAIRS = 1 << 22


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
    if not count:
        return torch.empty_like(groups, dtype=torch.bool)
    threshold = single_threshold(iou_threshold)
    order, start = line_up(scores, groups)
    # A last place holds what stands for the ranks that a group does not have: a box
    # that overlaps nothing.
    nobody = boxes.new_full((1, 4), float('nan'))
    boxes = torch.cat([boxes[order], nobody]).double()
    keep = boxes.new_ones(count + 1, dtype=torch.bool)
    start, size = _groups_by_size(start)
    ranks = _smaller(count, largest_group)
    first = 1  # the best of a group is always kept
    while first < ranks:
        stop = min(first + min(TILE, first), ranks)
        rank = torch.arange(stop, device=order.device)
        reaching = _smaller(count // (first + 1), num_groups)
        begin, many = start[:reaching, None], size[:reaching, None]
        place = torch.where(rank < many, begin + rank, count)  # (K, R)
        at_once = max(1, PAIRS // ((stop - first) * stop))
        rivals = [
            _rivals(boxes, keep, part, first, threshold)
            for part in place.split(at_once)
        ]
        gone, among = (torch.cat(parts) for parts in zip(*rivals, strict=True))
        keep[place[:, first:]] = ~(gone | _suppressed(among))
        first = stop
    return torch.empty_like(keep[:-1]).index_copy_(0, order, keep[:-1])


def _smaller(count: int, bound: int | None) -> int:
    return count if bound is None else min(count, bound)


def _groups_by_size(start: Tensor) -> tuple[Tensor, Tensor]:
    """Return where groups begin and how many boxes they hold, the largest first.

    Args:
        start (Tensor): Where the group of each place of the line begins, shape (M,).

    Returns:
        tuple: Both int64, shape (M,); a size of 0 is no group.
    """
    place = torch.arange(len(start), device=start.device)
    ends = torch.ones_like(start, dtype=torch.bool)
    ends[:-1] = start[1:] != start[:-1]
    size, last = (place + 1 - start).mul_(ends).sort(descending=True, stable=True)
    return last + 1 - size, size


def _rivals(
    boxes: Tensor, keep: Tensor, place: Tensor, first: int, threshold: float
) -> tuple[Tensor, Tensor]:
    """Compare the boxes of a tile with those before it and among themselves.

    Args:
        boxes (Tensor): In line, float64, shape (M + 1, 4).
        keep (Tensor): Right for the ranks before the tile, bool, shape (M + 1,).
        place (Tensor): Of the ranks up to the tile's end, int64, shape (K, R).
        first (int): The tile's first rank, R - W.
        threshold (float): As :func:`overlaps` takes it.

    Returns:
        tuple: Boxes suppressed by some before the tile, bool, shape (K, W); and which
        of the others overlaps which better one, bool, shape (K, W, W).
    """
    ranked = boxes[place]  # (K, R, 4)
    over = overlaps(ranked[:, first:], ranked, threshold)  # (K, W, R)
    gone = (over[..., :first] & keep[place[:, None, :first]]).any(-1)
    return gone, over[..., first:].tril(-1) & ~gone[:, None]


def _suppressed(over: Tensor) -> Tensor:
    """Return the boxes (K, W) that a box which is not suppressed itself overlaps.

    Args:
        over (Tensor): Box i overlaps the better box j, bool, shape (K, W, W).
    """
    suppressed = torch.zeros_like(over[..., 0])
    # Right for the first box, then for one more each time.
    for _ in range(over.shape[1] - 1):
        suppressed = (over > suppressed[:, None]).any(-1)
    return suppressed
