"""Files of weights that ask for more than they are: one row a kind."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable

from tests.trust.containers import MAGIC, PROTOCOL, SYSTEM, archive, legacy
from tests.trust.pickles import call, name, text, value, whole

STORAGE = b'\0' * 16


def torch_file(opcodes: bytes, storage: bytes = STORAGE, **options: int) -> bytes:
    """Return a file of torch's, with one storage."""
    members = [
        ('data.pkl', whole(opcodes)),
        ('byteorder', b'little'),
        ('data/0', storage),
        ('version', b'3\n'),
    ]
    return archive(members, **options)


def weights(tensor: bytes) -> bytes:
    """Push a checkpoint of one weight."""
    return b'}' + text('state_dict') + b'}' + text('weight') + tensor + b'ss'


def tensor(
    shape: tuple, strides: tuple, numbers: int = 4, offset: int = 0, more: bytes = b''
) -> bytes:
    """Push a tensor over so many numbers of the storage."""
    stored = text('storage') + name('torch:FloatStorage') + text('0') + text('cpu')
    return call(
        'torch._utils:_rebuild_tensor_v2',
        b'(' + stored + value(numbers) + more + b'tQ',
        value(offset),
        value(shape),
        value(strides),
        b'\x89',
        call('collections:OrderedDict'),
    )


def _legacy_storage() -> bytes:
    """Return the format before 1.6, whose storage says that it is of 256 GB."""
    size = 1 << 36
    head = b''.join(whole(value(one)) for one in (MAGIC, PROTOCOL, SYSTEM))
    body = whole(weights(tensor((size,), (1,), size, more=b'N')))
    return head + body + whole(value(['0'])) + struct.pack('<q', size) + STORAGE


def _meta() -> bytes:
    arguments = (name('torch:float32'), value((1 << 40,)), value((1,)), b'\x89')
    return call('torch._utils:_rebuild_meta_tensor_no_storage', *arguments)


def _array(*arguments: bytes) -> bytes:
    return call('numpy.core.multiarray:_reconstruct', name('numpy:ndarray'), *arguments)


def _tuples(count: int = 60) -> bytes:
    """Push a tuple of a tuple twice of a tuple twice ..., of 2 to the count parts."""
    steps = [b')q\x00'] + [
        b'h' + bytes([i]) + b'h' + bytes([i]) + b'\x86q' + bytes([i + 1])
        for i in range(count)
    ]
    return b'(' + b''.join(steps) + b't'


def _deflated() -> bytes:
    """Return 64 MB of zeros in 64 KB; a level more would be any number of them."""
    size = 1 << 24
    return torch_file(
        weights(tensor((size,), (1,), size)),
        bytes(4 * size),
        compression=zipfile.ZIP_DEFLATED,
    )


def _methods() -> bytes:
    return call('collections:OrderedDict') + b'}' + text('keys') + b'Nsb'


def _deep(levels: int = 5000) -> bytes:
    return b'}' + text('meta') + b'}' + text('a') + b']' * levels + b'a' * (levels - 1)


LARGE: dict[str, Callable[[], bytes]] = {
    'one number as a terabyte': lambda: torch_file(
        weights(tensor((1 << 20, 1 << 20), (0, 0)))
    ),
    'a shape beyond the storage': lambda: torch_file(weights(tensor((1 << 40,), (1,)))),
    'a storage beyond the file': lambda: torch_file(
        weights(tensor((1 << 40,), (1,), 1 << 40))
    ),
    'an offset beyond the storage': lambda: torch_file(
        weights(tensor((1,), (1,), 4, 1 << 60))
    ),
    'a negative shape': lambda: torch_file(weights(tensor((-1,), (1,)))),
    'a negative stride': lambda: torch_file(weights(tensor((2,), (-1,)))),
    'a storage of the old format': _legacy_storage,
    'a new tensor': lambda: torch_file(
        weights(call('torch:FloatTensor', value(1 << 32)))
    ),
    'bytes': lambda: torch_file(call('builtins:bytes', value(1 << 36))),
    'a bytearray': lambda: torch_file(call('builtins:bytearray', value(1 << 36))),
    'an array': lambda: torch_file(_array(value((1 << 34,)), value('f8'))),
    'an array of objects': lambda: torch_file(_array(value((1 << 34,)), value('O'))),
    'an array that is called': lambda: torch_file(
        call('numpy:ndarray', value((1 << 34,)))
    ),
    'a type of a gigabyte': lambda: torch_file(
        call('numpy.core.multiarray:scalar', call('numpy:dtype', text(f'V{1 << 30}')))
    ),
    'a deflated storage': _deflated,
    'a deflated pickle': lambda: archive(
        [('data.pkl', whole(b'NN' * 5_000_000)), ('version', b'3\n')],
        compression=zipfile.ZIP_DEFLATED,
    ),
    'a tuple of tuples as a key': lambda: torch_file(b'}' + _tuples() + b'K\x01s'),
    'the same in the old format': lambda: legacy(whole(b'}' + _tuples() + b'K\x01s')),
    'lists in lists': lambda: torch_file(_deep() + b'ss'),
    'methods of a dict': lambda: torch_file(_methods()),
    'a text of gigabytes': lambda: torch_file(b'X' + struct.pack('<I', 0xFFFFFFFF)),
}
"""Refused where they are loaded."""

USELESS: dict[str, Callable[[], bytes]] = {
    'a tensor without values': lambda: torch_file(weights(_meta())),
    'a number in a memo': lambda: torch_file(
        weights(b'Nr' + struct.pack('<I', 0x7FFFFFFF))
    ),
}
"""Loaded, as nothing in them is large, and refused where they are used."""

ARRAYS: dict[str, bytes] = {
    'a number in a memo': whole(b'}r' + struct.pack('<I', 60_000_000)),
    'a bytearray': whole(b'\x96' + struct.pack('<Q', 1 << 30), 5),
    'bytes': whole(b'\x8e' + struct.pack('<Q', 1 << 40), 5),
    'a frame': whole(b'\x95' + struct.pack('<Q', 1 << 40), 5),
    'a long number': whole(b'\x8b' + struct.pack('<i', 0x7FFFFFFF)),
    'a number of many digits': b'I' + b'9' * 1_000_000 + b'\n.',
    'a tuple of tuples as a key': whole(b'}' + _tuples() + b'K\x01s'),
    'the same by DUP': whole(b'})' + b'2\x86' * 60 + b'K\x01s'),
    'lists in lists': whole(b']' * 50_000 + b'a' * 49_999),
    'the state of a class': whole(
        name('numpy:ndarray') + b'N}' + text('array') + b'Ns\x86b'
    ),
    'the state of a function': whole(
        name('_codecs:encode') + b'N}' + text('__defaults__') + b')s\x86b'
    ),
}
"""Pickles for detectron2's reader."""
