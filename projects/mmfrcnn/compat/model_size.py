"""A model that a checkpoint describes is no larger than the weights beside it.

A stored config may ask for a layer of terabytes, or for a million layers, of which the
file has no weights. Torch asks for memory when a parameter is made, and takes it when
the parameter is filled; between the two it is registered, and counted here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from mmfrcnn.errors import UserError

TIMES = 5  # batch norms are folded, and convolutions rearranged, into new ones
SPARE_NUMBERS = 200_000_000
SPARE_TENSORS = 2000
"""What is built and dropped again, such as the classifier of a backbone."""


@contextmanager
def no_larger_than(weights: Mapping[str, Any], path: str) -> Iterator[None]:
    """Build a model, and stop where it needs far more weights than there are.

    Args:
        weights (Mapping[str, Any]): Those of the checkpoint.
        path (str): The checkpoint, for the message.

    Raises:
        UserError: If it does.
    """
    tensors = [one for one in weights.values() if isinstance(one, Tensor)]
    numbers_left = TIMES * sum(one.numel() for one in tensors) + SPARE_NUMBERS
    tensors_left = TIMES * len(tensors) + SPARE_TENSORS

    def count(_: nn.Module, name: str, parameter: Any) -> None:
        nonlocal numbers_left, tensors_left
        numbers_left -= parameter.numel() if parameter is not None else 0
        tensors_left -= 1
        if min(numbers_left, tensors_left) < 0:
            raise UserError(
                f'{path}: the config inside describes a larger model than it has '
                'weights of. Name the config yourself, beside the checkpoint'
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
