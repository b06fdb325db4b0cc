"""The IoU of neighbours only.

Consecutive anchors lie side by side, so a block of them has a small bounding box, and
most blocks miss a given ground truth: their IoU with it is 0 without being computed.
What remains stays in a cache. On a GPU, where each operator has a price and the host
must not ask how many blocks are hit, all pairs are computed at once.

Shapes: N images, S priors in K blocks of B, G ground-truth slots, R rows: the blocks
(of any image) that a ground truth hits.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from mmfrcnn.ops.iou import SMALLEST_UNION

# Priors a block: some 40 places of three anchors, a part of a line of a feature map.
BLOCK = 128


def match(
    priors: Tensor,
    gt_boxes: Tensor,
    gt_mask: Tensor,
    excluded: Tensor | None,
    min_best_iou: float | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Sweep over the ground truths, each with the blocks of priors that it hits.

    See :func:`mmfrcnn.ops.match.match_boxes`; S is at least 1, and ``min_best_iou``, if
    any, more than 0.
    """
    images, count = len(gt_mask), priors.shape[1]
    blocks = _blocks(priors)  # (N or 1, K, 5, B)
    shared, number = len(blocks) == 1, blocks.shape[1]
    flat = blocks.flatten(0, 1)
    out = None
    if excluded is not None:
        out = F.pad(excluded, (0, number * BLOCK - count)).view(-1, BLOCK)
    shape = images * number, BLOCK
    largest = priors.new_zeros(shape)
    nearest = torch.zeros(shape, dtype=torch.int32)
    best_of = torch.full(shape, -1, dtype=torch.int32)

    for index, image, block in _hits(blocks, gt_boxes, gt_mask):
        box = gt_boxes[image, index].unbind(-1)
        row = image * number + block
        iou = _iou(box, flat.index_select(0, block if shared else row))  # (R, B)
        if out is not None:
            iou.masked_fill_(out.index_select(0, row), -1)
        known = largest.index_select(0, row)
        first = nearest.index_select(0, row).masked_fill_(iou > known, index)
        nearest.index_copy_(0, row, first)
        largest.index_copy_(0, row, torch.maximum(known, iou))
        if min_best_iou is not None:
            best = iou.new_zeros(images).scatter_reduce_(0, image, iou.amax(1), 'amax')
            best[best < min_best_iou] = 2.0  # an IoU that nobody has
            ties = iou == best[image][:, None]
            last = best_of.index_select(0, row).masked_fill_(ties, index)
            best_of.index_copy_(0, row, last)

    def whole(rows: Tensor) -> Tensor:
        return rows.view(images, number * BLOCK)[:, :count]

    largest, nearest = whole(largest), whole(nearest)
    if excluded is not None:
        largest = largest.masked_fill(excluded, -1)
    return largest, nearest, None if min_best_iou is None else whole(best_of)


def _blocks(priors: Tensor) -> Tensor:
    """Return x1, y1, x2, y2 and area in blocks, (N or 1, K, 5, B), filled up by 0."""
    x1, y1, x2, y2 = priors.unbind(-1)
    columns = torch.stack([x1, y1, x2, y2, (x2 - x1) * (y2 - y1)], 1)
    columns = F.pad(columns, (0, -priors.shape[1] % BLOCK))
    return columns.unflatten(2, (-1, BLOCK)).transpose(1, 2).contiguous()


def _hits(
    blocks: Tensor, gt_boxes: Tensor, gt_mask: Tensor
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """For each ground-truth slot: the images and blocks in which it hits something.

    Yields:
        tuple: index of the slot; image of each row, (R,); its block, (R,). Slots that
        hit nothing are left out.
    """
    low, high = blocks[:, :, :2].amin(3), blocks[:, :, 2:4].amax(3)  # (N or 1, K, 2)
    for index in range(gt_mask.shape[1]):
        box = gt_boxes[:, index, None]  # (N, 1, 4)
        # Said in the negative, so that a NaN is a hit: its IoU is NaN with any box.
        missed = ((low >= box[..., 2:]) | (high <= box[..., :2])).any(-1)  # (N, K)
        image, block = (gt_mask[:, index, None] & ~missed).nonzero().T
        if len(image):
            yield index, image, block


def _iou(box: tuple[Tensor, ...], blocks: Tensor) -> Tensor:
    """IoU of a box a row, four of (R,), with a block a row, (R, 5, B): shape (R, B).

    Operation by operation :func:`~mmfrcnn.ops.iou.pairwise_iou`, so equal to the bit.
    """
    x1, y1, x2, y2 = (side[:, None] for side in box)
    u1, v1, u2, v2, area = blocks.unbind(1)
    inter = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    inter *= torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
    union = ((x2 - x1) * (y2 - y1) + area).sub_(inter)
    return inter.div_(union.clamp_(min=SMALLEST_UNION))
