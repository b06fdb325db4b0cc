"""Stream compaction: the marked entries of each row, in order, in fixed slots.

Shapes: N rows, M entries, K slots.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.ops.backend import backend_of


def compact(marked: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the places of the marked entries of each row.

    It stands for ``nonzero``, whose shape depends on the data, so that the host would
    have to wait for it.

    Args:
        marked (Tensor): bool, shape (N, M).
        most (int): No row has more; where one does, its last ones are lost.

    Returns:
        tuple: places in rising order, int64, shape (N, K), any place in empty slots;
        which slots are filled, the first ones, bool, shape (N, K). K is ``most``; on a
        CPU, which nobody waits for, as few as the fullest row needs.

    Example:
        >>> marked = torch.tensor([[False, True, True], [False, False, True]])
        >>> compact(marked, 2)
        (tensor([[1, 2],
                [2, 2]]), tensor([[ True,  True],
                [ True, False]]))
    """
    rows, entries = marked.shape
    count = marked.sum(1, keepdim=True, dtype=torch.int32)  # (N, 1)
    if backend_of(marked) == 'cpu':
        most = min(most, max(count[:, 0].tolist(), default=0))
    slot = torch.arange(1, most + 1, dtype=torch.int32, device=marked.device)
    slot = slot.repeat(rows, 1)  # (N, K)
    # The k-th marked entry is the first up to which there are k.
    index = torch.searchsorted(marked.cumsum(1, dtype=torch.int32), slot)
    return index.clamp_(max=max(entries - 1, 0)), slot <= count
