"""All pairs, for as many ground truths at a time as the bound on memory allows.

Every chunk holds all priors, so the best IoU of a ground truth is known within its
chunk and one sweep suffices: memory is O(S + G) whatever their product.

Shapes: N images, S priors, G ground-truth slots, G' of them in a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Overlap = Callable[[Tensor, Tensor], Tensor]

# Pairs of the batch whose IoU is held at a time, in a few buffers of 16 MB: a cache
# nearly holds them, and a GPU takes longer to fill one than to launch the next step.
PAIRS_PER_CHUNK = 4_000_000


def match(
    priors: Tensor,
    gt_boxes: Tensor,
    gt_mask: Tensor,
    excluded: Tensor | None,
    min_best_iou: float | None,
    all_ties: bool,
    overlap: Overlap,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Sweep over the ground truths; see :func:`mmfrcnn.ops.match.match_boxes`."""
    max_iou = nearest = best_of = None
    gt_boxes = gt_boxes.masked_fill(~gt_mask[..., None], 0)
    for chunk in chunks(gt_mask, priors):
        iou = overlap(gt_boxes[:, chunk], priors)  # (N, G', S)
        if excluded is not None:
            iou.masked_fill_(excluded[:, None], -1)
        # An empty slot's box has no area, so its IoU is 0 and changes no maximum.
        largest, index = iou.max(dim=1)  # (N, S)
        index = index.int() + chunk.start
        if min_best_iou is not None:
            found = _best_of(
                iou, gt_mask[:, chunk], chunk.start, min_best_iou, all_ties
            )
            best_of = found if best_of is None else torch.maximum(best_of, found)
        if max_iou is None:
            max_iou, nearest = largest, index
        else:
            nearest = torch.where(largest > max_iou, index, nearest)
            max_iou = torch.maximum(max_iou, largest)
    return max_iou, nearest, best_of


def chunks(mask: Tensor, priors: Tensor) -> Iterator[slice]:
    """Yield slices of slots (N, G) whose pairs with priors (N or 1, S, 4) fit."""
    images, count = mask.shape
    step = max(1, PAIRS_PER_CHUNK // max(images * priors.shape[1], 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _best_of(
    iou: Tensor, mask: Tensor, start: int, min_best_iou: float, all_ties: bool
) -> Tensor:
    """For each prior, the last ground truth of this chunk that it is the best of.

    Args:
        iou (Tensor): Shape (N, G', S).
        mask (Tensor): Real ground truths, shape (N, G').
        start (int): Index of the chunk's first ground truth.
        min_best_iou (float): The best counts from this IoU on.
        all_ties (bool): Whether all priors that tie are the best, else the first.

    Returns:
        Tensor: Index, or -1, int32, shape (N, S).
    """
    images, count, priors = iou.shape
    if priors == 0:
        return iou.new_full((images, 0), -1, dtype=torch.int32)
    best, where = iou.max(dim=2)  # (N, G')
    wanted = mask & (best >= min_best_iou)
    index = torch.arange(start, start + count, dtype=torch.int32, device=iou.device)
    if all_ties:
        # Unwanted ones ask for an IoU that nobody has.
        best = best.masked_fill_(~wanted, 2.0)
        ties = iou == best[..., None]  # (N, G', S)
        return torch.where(ties, index[:, None], -1).amax(1)
    chosen = index.expand_as(where).masked_fill(~wanted, -1)
    none = torch.full((images, priors), -1, dtype=torch.int32, device=best.device)
    return none.scatter_reduce_(1, where, chosen, 'amax')
