"""detectron2's ``.pkl`` files, read without executing anything in them.

A pickle is a program that may call whatever it names. This reader knows the few names
that arrays are made of, and refuses a file that asks for any other.
"""

from __future__ import annotations

import collections
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mmfrcnn.errors import UserError


class RefusedError(pickle.UnpicklingError):
    """A file asks for something that arrays are not made of."""


def latin1_bytes(text: str, encoding: str = 'latin1') -> bytes:
    """Stand for ``_codecs.encode``: how pickles of protocol 2 write bytes."""
    if encoding != 'latin1':
        raise RefusedError(f'_codecs.encode to {encoding}')
    return text.encode('latin1')


def no_bytes() -> bytes:
    """Stand for ``bytes``, which older protocols call for those of an empty array."""
    return b''


class ElementType:
    """Stand for ``numpy.dtype``: numbers of one kind.

    Args:
        code (str): Such as ``f4``.
        align (bool): Unused, as for numpy's.
        copy (bool): Unused.
    """

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not re.fullmatch(r'[fiu][1248]|b1', code):
            raise RefusedError(f'numpy.dtype {code!r}')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class StoredArray:
    """Stand for ``numpy.ndarray``, whose own reader trusts what a file says."""

    array: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, element, by_columns, data = state
        self.array = stored_array(
            data, element, shape, 'F' if by_columns else 'C'
        ).array


def stored_array(
    data: bytes | str,
    element: ElementType,
    shape: tuple,
    order: Literal['C', 'F'] = 'C',
) -> StoredArray:
    """Stand for numpy's ``_frombuffer``, with which protocol 5 makes arrays."""
    raw = data.encode('latin1') if isinstance(data, str) else data  # of Python 2
    result = StoredArray()
    result.array = np.frombuffer(raw, element.dtype).reshape(tuple(shape), order=order)
    return result


def stored_scalar(element: ElementType, data: bytes | str) -> StoredArray:
    """Stand for numpy's ``scalar``."""
    return stored_array(data, element, ())


def empty_array(*_: Any) -> StoredArray:
    """Stand for numpy's ``_reconstruct``: an array whose state follows."""
    return StoredArray()


KNOWN: dict[str, Any] = {
    'collections.OrderedDict': collections.OrderedDict,
    '_codecs.encode': latin1_bytes,
    '__builtin__.bytes': no_bytes,
    'numpy.ndarray': StoredArray,
    'numpy.dtype': ElementType,
}
for core in ('core', '_core'):  # numpy moved them in version 2.0
    KNOWN[f'numpy.{core}.multiarray._reconstruct'] = empty_array
    KNOWN[f'numpy.{core}.multiarray.scalar'] = stored_scalar
    KNOWN[f'numpy.{core}.numeric._frombuffer'] = stored_array


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
    if not isinstance(value, StoredArray) or not hasattr(value, 'array'):
        kind = type(value).__name__
        raise UserError(f'{path}: {key} is {kind}, not an array of numbers')
    native = value.array.astype(value.array.dtype.newbyteorder('='))
    return torch.from_numpy(np.ascontiguousarray(native)).reshape(native.shape)
