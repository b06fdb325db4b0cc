"""Random choices that depend on names alone: no state, no wait for the device.

A candidate's key is a hash of its name, and those with the largest keys are taken.

Shapes: N images, S candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mix(x: Tensor) -> Tensor:
    """Scramble 32-bit numbers (int64): xor-shifts and odd multipliers, a bijection."""
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x5A2D9C4B)):
        x = ((x ^ (x >> shift)) * multiplier) & 0xFFFFFFFF
    return x ^ (x >> 16)


def draw(key: Tensor, wanted: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Take the ``most`` wanted candidates of largest key, at random order.

    Args:
        key (Tensor): Random keys >= 0, shape (N, S).
        wanted (Tensor): bool, shape (N, S).
        most (int): How many at most.

    Returns:
        tuple: indices (N, min(most, S)), the drawn ones first; their number (N, 1).
    """
    keys = torch.where(wanted, key, -1)
    top = keys.topk(min(most, keys.shape[1]), dim=1)
    return top.indices, (top.values >= 0).sum(1, keepdim=True)
