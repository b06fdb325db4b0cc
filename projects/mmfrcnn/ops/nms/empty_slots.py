"""Slots of a batch that hold no box, on their way through NMS.

Shapes: N images, K slots an image.
"""

from __future__ import annotations

import torch
from torch import Tensor


def set_apart(
    groups: Tensor, count: int, boxes: Tensor, filled: Tensor, room: int
) -> tuple[Tensor, Tensor, int]:
    """Put empty slots into groups of their own, where they cost NMS little.

    No such group is larger than ``room``, and the first of its boxes, which are equal,
    suppresses the others.

    Args:
        groups (Tensor): Of filled slots, shape (N, K).
        count (int): How many those are.
        boxes (Tensor): Shape (N, K, 4).
        filled (Tensor): Shape (N, K).
        room (int): Boxes a group.

    Returns:
        tuple: groups (N, K), boxes (N, K, 4), and how many groups there are more.
    """
    images, slots = groups.shape
    device = groups.device
    row = torch.arange(images, device=device)[:, None]
    column = torch.arange(slots, device=device)
    each = -(-slots // room)  # groups an image
    others = count + row * each + column // room
    corners = (torch.arange(4, device=device) // 2).to(boxes.dtype)  # 0, 0, 1, 1
    return (
        torch.where(filled, groups, others),
        torch.where(filled[..., None], boxes, corners),
        images * each,
    )
