"""Overlap of boxes, each with each or row by row."""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.compat.ops.precision import at_least_float32

OF_FIRST = 1  # mode: the intersection's share of the first box, else of the union


def bbox_overlaps(
    bboxes1: Tensor,
    bboxes2: Tensor,
    ious: Tensor,
    mode: int,
    aligned: bool,
    offset: int,
) -> None:
    """Write the overlaps into ``ious``.

    Args:
        bboxes1 (Tensor): (M, 4) xyxy.
        bboxes2 (Tensor): (N, 4) xyxy; M = N where ``aligned``.
        ious (Tensor): Buffer, (M, N), or (M,) where ``aligned``.
        mode (int): 0 IoU, 1 share of the first box (IoF).
        aligned (bool): Whether row i meets row i alone.
        offset (int): 0 or 1, added to widths and heights; also the least that the
            denominator is.
    """
    first, second = at_least_float32(bboxes1), at_least_float32(bboxes2)
    if not aligned:
        first = first[:, None]
    area, other = (
        (boxes[..., 2:] - boxes[..., :2] + offset).prod(-1) for boxes in (first, second)
    )
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    common = (bottom_right - top_left + offset).clamp(min=0).prod(-1)
    whole = area if mode == OF_FIRST else area + other - common
    ious.copy_(common / whole.clamp(min=offset))
