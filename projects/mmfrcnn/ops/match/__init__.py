"""Matching boxes with ground truth by IoU, without ever holding all pairs.

Shapes: N images, S priors (anchors or proposals), G ground-truth slots.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mmfrcnn.ops.backend import backend_of
from mmfrcnn.ops.iou import pairwise_iou
from mmfrcnn.ops.match import cpu, reference
from mmfrcnn.ops.match.reference import Overlap

# With fewer priors than this, all pairs are computed as fast as blocks of them.
FEWEST_FOR_BLOCKS = 10_000


class Match(NamedTuple):
    """What the priors of N images found.

    Attributes:
        max_iou (Tensor): Largest IoU with any ground truth, -1 where excluded, float32,
            shape (N, S).
        nearest (Tensor): The first ground truth that has it, int32, shape (N, S); of no
            meaning where it is NaN.
        best_of (Tensor | None): The last ground truth that the prior is the best of, or
            -1, int32, shape (N, S); None where nobody asked.
    """

    max_iou: Tensor
    nearest: Tensor
    best_of: Tensor | None


def match_boxes(
    priors: Tensor,
    gt_boxes: Tensor,
    gt_mask: Tensor,
    *,
    excluded: Tensor | None = None,
    min_best_iou: float | None = None,
    all_ties: bool = True,
    zero_decides: bool = False,
    overlap: Overlap = pairwise_iou,
) -> Match:
    """Find the nearest ground truth of every prior, and the best priors of each.

    Args:
        priors (Tensor): xyxy, float32, shape (N or 1, S, 4).
        gt_boxes (Tensor): xyxy, float32, shape (N, G, 4), G >= 1.
        gt_mask (Tensor): Slots that hold a ground truth, bool, shape (N, G).
        excluded (Tensor | None): Priors that take no part, bool, shape (N, S).
        min_best_iou (float | None): The best prior of a ground truth counts from this
            IoU on; None: nobody asks for it.
        all_ties (bool): Whether all priors that tie are the best, else the first.
        zero_decides (bool): Whether the caller tells apart priors that overlap nothing.
        overlap (Callable): Of (N, G', 4) with (N or 1, S, 4): shape (N, G', S).

    Returns:
        Match: For each prior of each image.
    """
    if overlap is pairwise_iou:
        max_iou, nearest, best_of = _match_by_iou(
            priors, gt_boxes, gt_mask, excluded, min_best_iou, all_ties, zero_decides
        )
        return Match(max_iou, nearest, None if min_best_iou is None else best_of)
    return Match(
        *reference.match(
            priors, gt_boxes, gt_mask, excluded, min_best_iou, all_ties, overlap
        )
    )


@torch.library.custom_op('mmfrcnn::match_by_iou', mutates_args=())
def _match_by_iou(
    priors: Tensor,
    gt_boxes: Tensor,
    gt_mask: Tensor,
    excluded: Tensor | None,
    min_best_iou: float | None,
    all_ties: bool,
    zero_decides: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`match_boxes` by IoU; ``best_of`` has shape (N, 0) where nobody asked."""
    given = priors, gt_boxes, gt_mask, excluded, min_best_iou
    backend = backend_of(priors, _self_check)
    short = (
        backend == 'cpu'
        and priors.shape[1] >= FEWEST_FOR_BLOCKS
        and not zero_decides
        and (min_best_iou is None or (min_best_iou > 0 and all_ties))
    )
    if short:
        found = cpu.match(*given)
    elif backend == 'cuda' and priors.dtype == gt_boxes.dtype == torch.float32:
        from mmfrcnn.ops.match import cuda

        found = cuda.match(*given, all_ties)
    else:
        found = reference.match(*given, all_ties, pairwise_iou)
    max_iou, nearest, best_of = found
    if best_of is None:
        best_of = nearest.new_empty(len(gt_mask), 0)
    return max_iou.contiguous(), nearest.contiguous(), best_of.contiguous()


@_match_by_iou.register_fake
def _match_shapes(
    priors: Tensor,
    gt_boxes: Tensor,
    gt_mask: Tensor,
    excluded: Tensor | None,
    min_best_iou: float | None,
    all_ties: bool,
    zero_decides: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    shape = len(gt_mask), priors.shape[1]
    asked = len(gt_mask), 0 if min_best_iou is None else priors.shape[1]
    return (
        priors.new_empty(shape),
        priors.new_empty(shape, dtype=torch.int32),
        priors.new_empty(asked, dtype=torch.int32),
    )


def _self_check(device: torch.device) -> None:
    from mmfrcnn.ops.match import cuda

    cuda.self_check(device)
