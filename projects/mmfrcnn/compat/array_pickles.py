"""Pickles of arrays, read without executing anything in them.

A pickle is a program that may call whatever it names. This reader knows the few names
that arrays are made of, and refuses a file that asks for any other.
"""

from __future__ import annotations

import collections
import pickle
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np

from mmfrcnn.compat.unpickling import Memo

NEVER_WRITTEN = (
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.BINPERSID),
    *(pickle.DUP, pickle.INST, pickle.OBJ, pickle.NEXT_BUFFER),
)
"""Opcodes that no pickle of arrays has: names by number, ids, and calls of old."""

NUMBERS = re.compile(r'[fiu][1248]|b1')
"""How files name a type of numbers for `numpy.dtype`."""


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
        if not NUMBERS.fullmatch(code):
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


class ArrayUnpickler(pickle._Unpickler):
    """Builds numbers, texts, lists, dicts and numpy arrays, and nothing else.

    Python's own reader and not the one in C, whose memo takes as many gigabytes as the
    largest number in it says.
    """

    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    dispatch: ClassVar[dict[int, Any]] = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if bytes([code]) not in NEVER_WRITTEN
    }

    def __init__(self, stream: BinaryIO, known: Mapping[str, Any]) -> None:
        super().__init__(stream, encoding='latin1')
        self.memo = Memo()
        self.known = known

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name of the file stands for.

        Raises:
            RefusedError: If it is not one of the few.
        """
        full_name = f'{module}.{name}'
        if full_name not in self.known:
            raise RefusedError(full_name)
        return self.known[full_name]

    def load_build(self) -> None:
        """Set the state of an array or its type: of a class it would change the class.

        Raises:
            RefusedError: If it is of anything else.
        """
        if isinstance(self.stack[-2], type) or not hasattr(
            self.stack[-2], '__setstate__'
        ):
            raise RefusedError('the state of something else')
        pickle._Unpickler.dispatch[pickle.BUILD[0]](self)  # type: ignore[arg-type]

    dispatch[pickle.BUILD[0]] = load_build

    def load_bytearray8(self) -> None:
        """Read bytes: Python's own makes room for as many as the file says it has."""
        (size,) = struct.unpack('<Q', self.read(8))
        self.append(bytearray(self.read(size)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def load_arrays(stream: BinaryIO, known: Mapping[str, Any] = KNOWN) -> Any:
    """Return what a pickle holds, its arrays as `StoredArray`.

    Args:
        stream (BinaryIO): The pickle.
        known (Mapping[str, Any]): What stands for the names in it.

    Raises:
        RefusedError: If it asks for anything but arrays.
        Exception: Of any kind, if it is damaged.
    """
    return ArrayUnpickler(stream, known).load()
