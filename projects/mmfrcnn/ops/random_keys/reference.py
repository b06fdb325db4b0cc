"""The hash in plain operators, on 32-bit numbers whose products wrap around.

Shapes: N images, S candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Fibonacci hashing's multiplier, 2**32 over the golden ratio; an int32 holds it minus
# 2**32.
SPREAD = 0x9E3779B1
# Xor-shifts and odd multipliers: each step is a bijection.
ROUNDS = ((16, 0x7FEB352D), (15, 0x5A2D9C4B))
LAST_SHIFT = 16


def random_keys(
    match_labels: Tensor, draw: Tensor, images: Tensor, ids: Tensor
) -> Tensor:
    """Hash; see :func:`mmfrcnn.ops.random_keys.random_keys`."""
    image = _mix((images ^ draw).int())  # (N,)
    key = _mix(image[:, None] ^ ids.int() * (SPREAD - (1 << 32)))  # (N, S)
    wanted = torch.stack([match_labels == 1, match_labels == 0])  # (2, N, S)
    return torch.where(wanted, _shifted(key, 1), -1)


def _mix(x: Tensor) -> Tensor:
    """Scramble int32, in place."""
    for shift, multiplier in ROUNDS:
        x ^= _shifted(x, shift)
        x *= multiplier
    x ^= _shifted(x, LAST_SHIFT)
    return x


def _shifted(x: Tensor, places: int) -> Tensor:
    """Shift right as an unsigned number is shifted: zeros follow."""
    return (x >> places).bitwise_and_((1 << 32 - places) - 1)
