"""All boxes in one line: group after group, within a group the better first."""

from __future__ import annotations

import torch
from torch import Tensor


def line_up(scores: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Order boxes by group, then falling score, then as they came.

    Args:
        scores (Tensor): shape (M,); a NaN is above all numbers.
        groups (Tensor): Group of each box, int64, shape (M,).

    Returns:
        tuple: The box at each place of the line; the place where its group begins.
        Both int64, shape (M,).
    """
    order = scores.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]
    groups = groups[order]
    place = torch.arange(len(order), device=order.device)
    begins = torch.ones_like(groups, dtype=torch.bool)
    begins[1:] = groups[1:] != groups[:-1]
    return order, torch.where(begins, place, 0).cummax(0).values
