"""Half precision in, half precision out, float32 in between."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in float32 if it is float16 or bfloat16, else as it is.

    torchvision has no half-precision kernels on CPU and no bfloat16 ones on CUDA.
    """
    return tensor.float() if tensor.dtype in (torch.half, torch.bfloat16) else tensor
