"""numpy's arrays and numbers in checkpoints: made as numpy wrote them, and not else.

What numpy calls to make an array again takes any shape and any type of element. A file
that numpy wrote always asks for an empty array first, whose content follows.
"""

from __future__ import annotations

import importlib
import pickle
from typing import Any

import numpy as np

from mmfrcnn.compat.array_pickles import NUMBERS, no_bytes

# Element types of the arrays and scalars that logs and metadata hold.
_ELEMENTS = (bool, np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64)


class ArrayClass:
    """Stand in files for ``numpy.ndarray``, which is named there and not called."""


def empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Stand for numpy's ``_reconstruct``.

    Raises:
        pickle.UnpicklingError: If it is asked for anything but an empty array.
    """
    if kind is not ArrayClass or shape != (0,) or code != b'b':
        raise pickle.UnpicklingError('GLOBAL numpy._reconstruct of something else')
    return np.ndarray(0, np.int8)


def element_type(code: Any, align: Any = False, copy: Any = True) -> np.dtype:
    """Stand for ``numpy.dtype``: a copy, as what follows in a file changes it.

    Raises:
        pickle.UnpicklingError: If it is asked for anything but numbers.
    """
    if not isinstance(code, str) or not NUMBERS.fullmatch(code):
        kind = type(np.dtype(code)).__name__ if code == 'O8' else repr(code)[:40]
        raise pickle.UnpicklingError(f'GLOBAL numpy.dtype.{kind} of something else')
    return np.dtype(code, copy=True)


def array_globals() -> list[Any]:
    """Return what a checkpoint may name for the sake of numpy.

    Returns:
        list: Classes, or pairs of an object and the name it has in files. A name
        without a dot is one that no file can spell: it lets arrays take their content.
        numpy moved its two constructors in version 2.0; files may have either name.
    """
    scalar = importlib.import_module('numpy._core.multiarray').scalar
    named: list[Any] = [
        (ArrayClass, 'numpy.ndarray'),
        (np.ndarray, 'array'),
        (element_type, 'numpy.dtype'),
        (no_bytes, 'builtins.bytes'),
    ]
    for core in ('core', '_core'):
        named.append((empty_array, f'numpy.{core}.multiarray._reconstruct'))
        named.append((scalar, f'numpy.{core}.multiarray.scalar'))
    return [*named, *(type(np.dtype(element)) for element in _ELEMENTS)]
