"""Feature maps as rows, one an anchor, and rows by index, for a whole batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def flatten_levels(maps: Sequence[Tensor], channels: int) -> Tensor:
    """Line up the levels' outputs, level by level, then row, column, anchor.

    Args:
        maps (Sequence[Tensor]): L maps, each (N, A * channels, H_l, W_l).
        channels (int): Outputs an anchor.

    Returns:
        Tensor: float32, shape (N, sum of A * H_l * W_l, channels).
    """
    rows = [
        level.permute(0, 2, 3, 1).reshape(
            len(level), level.shape[1:].numel() // channels, channels
        )
        for level in maps
    ]
    return torch.cat(rows, 1).float()


def gather_rows(values: Tensor, index: Tensor) -> Tensor:
    """Return rows (N, K, D) of values (N, M, D) at indices (N, K), int64."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
