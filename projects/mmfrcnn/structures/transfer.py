"""Numbers from the host to a device, in one piece and without a wait."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 8  # bytes: the largest of the types that are sent


def to_device(
    arrays: Mapping[str, np.ndarray], device: torch.device
) -> dict[str, Tensor]:
    """Copy arrays to a device together.

    A copy for each would cost a launch for each; and one from memory that is not pinned
    makes the host wait until a GPU has done all that it was given before.

    Args:
        arrays (Mapping[str, np.ndarray]): Of any types and shapes.
        device (torch.device): Where to.

    Returns:
        dict[str, Tensor]: The same on the device, views of one block of memory.
    """
    places, end = {}, 0
    for name, array in arrays.items():
        places[name] = slice(end, end + array.nbytes)
        end += array.nbytes + -array.nbytes % ALIGNMENT
    raw = np.zeros(max(end, ALIGNMENT), np.uint8)  # nothing would have no stride
    for name, array in arrays.items():
        raw[places[name]] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    block = torch.from_numpy(raw)
    if device.type == 'cuda':
        block = block.pin_memory()
    block = block.to(device, non_blocking=True)
    return {
        name: block[places[name]].view(torch.as_tensor(array).dtype).view(array.shape)
        for name, array in arrays.items()
    }
