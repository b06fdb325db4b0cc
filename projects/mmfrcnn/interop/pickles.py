"""detectron2's ``.pkl`` files, read without executing anything in them.

A pickle is a program that may call whatever it names. This reader knows the few names
that arrays are made of, and refuses a file that asks for any other.
"""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..compat.checkpoint import numpy_constructors
from ..errors import UserError


class RefusedError(pickle.UnpicklingError):
    """A file asks for something that arrays are not made of."""


def latin1_bytes(text: str, encoding: str = 'latin1') -> bytes:
    """Stand for ``_codecs.encode``: how pickles of protocol 2 write bytes."""
    if encoding != 'latin1':
        raise RefusedError(f'_codecs.encode to {encoding}')
    return text.encode('latin1')


KNOWN = {
    'collections.OrderedDict': collections.OrderedDict,
    '_codecs.encode': latin1_bytes,
    'numpy.ndarray': np.ndarray,
    'numpy.dtype': np.dtype,
    **numpy_constructors(),
}


class ArrayUnpickler(pickle.Unpickler):
    """Builds numbers, texts, lists, dicts and numpy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name of the file stands for.

        Raises:
            RefusedError: If it is not one of the few.
        """
        full_name = f'{module}.{name}'
        if full_name not in KNOWN:
            raise RefusedError(full_name)
        return KNOWN[full_name]


def read_pickle(path: str) -> dict[str, Tensor]:
    """Read the tensors of a detectron2 ``.pkl`` file.

    Args:
        path (str): The file: a dict of arrays, or one with such a dict as ``model``.

    Raises:
        UserError: If it asks for anything but arrays, is damaged, or holds no weights.
    """
    try:
        with Path(path).open('rb') as stream:
            content = ArrayUnpickler(stream, encoding='latin1').load()
    except RefusedError as error:
        raise UserError(
            f'{path} was not read: it asks for {error}, and weights are made of '
            'arrays, numbers and texts alone. Nothing in it was executed'
        ) from None
    except Exception as error:  # a damaged pickle can raise any
        raise UserError(
            f'{path} is no complete pickle ({type(error).__name__}: {error})'
        ) from None
    content = content.get('model', content) if isinstance(content, dict) else None
    if not content or not isinstance(content, dict):
        raise UserError(f'{path} holds no dict of arrays')
    return {str(key): _tensor(key, value, path) for key, value in content.items()}


def _tensor(key: str, value: Any, path: str) -> Tensor:
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in 'fiu':
        kind = getattr(value, 'dtype', type(value).__name__)
        raise UserError(f'{path}: {key} is {kind}, not an array of numbers')
    native = np.ascontiguousarray(value, value.dtype.newbyteorder('='))
    return torch.from_numpy(native.copy()).reshape(value.shape)
