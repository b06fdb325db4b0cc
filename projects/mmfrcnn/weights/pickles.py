"""detectron2's ``.pkl`` files: arrays by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmfrcnn.compat.array_pickles import RefusedError, StoredArray, load_arrays
from mmfrcnn.errors import UserError, reason_of, summary_of


def read_pickle(path: str) -> dict[str, Tensor]:
    """Read the tensors of a detectron2 ``.pkl`` file.

    Args:
        path (str): The file: a dict of arrays, or one with such a dict as ``model``.

    Raises:
        UserError: If it asks for anything but arrays, is damaged, or holds no weights.
    """
    try:
        with Path(path).open('rb') as stream:
            content = load_arrays(stream)
    except RefusedError as error:
        raise UserError(
            f'{path} was not read: it asks for {reason_of(error)}, and weights are '
            'made of arrays, numbers and texts alone. Nothing in it was executed'
        ) from None
    except Exception as error:  # a damaged pickle can raise any
        reason = summary_of(error)
        raise UserError(f'{path} is no complete pickle ({reason})') from None
    content = content.get('model', content) if isinstance(content, dict) else None
    if not content or not isinstance(content, dict):
        raise UserError(f'{path} holds no dict of arrays')
    return {str(key): _tensor(key, value, path) for key, value in content.items()}


def _tensor(key: str, value: Any, path: str) -> Tensor:
    if not isinstance(value, StoredArray) or not hasattr(value, 'array'):
        kind = type(value).__name__
        raise UserError(f'{path}: {key} is {kind}, not an array of numbers')
    native = value.array.astype(value.array.dtype.newbyteorder('='))
    return torch.from_numpy(np.ascontiguousarray(native)).reshape(native.shape)
