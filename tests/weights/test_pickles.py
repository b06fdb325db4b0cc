from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from mmfrcnn.errors import UserError
from mmfrcnn.weights.pickles import read_pickle


class Hostile:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write(folder, content, protocol=2):
    path = folder / 'weights.pkl'
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return str(path)


@pytest.mark.parametrize('protocol', range(6))
def test_reads_arrays(tmp_path, protocol):
    random = np.random.default_rng(0)
    arrays = {
        'single': random.normal(size=(3, 2, 1, 1)).astype(np.float32),
        'double': random.normal(size=4),
        'half': random.normal(size=(2, 2)).astype(np.float16),
        'other_order': np.arange(5, dtype='>i4'),
        'columns': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        'scalar': np.float32(2.5),
        'empty': np.zeros((0, 4), np.float32),
        'none': np.int64(0),
    }
    model = collections.OrderedDict(arrays)
    content = {'model': model, '__author__': 'somebody', 'iteration': 7}
    found = read_pickle(write(tmp_path, content, protocol))
    assert list(found) == list(arrays)
    for key, array in arrays.items():
        assert tuple(found[key].shape) == np.shape(array)
        expected = np.asarray(array, np.asarray(array).dtype.newbyteorder('='))
        assert torch.equal(found[key], torch.from_numpy(expected))


def test_reads_names_of_older_numpy_and_python(tmp_path):
    text = pickle.dumps({'a': np.arange(3.0)}, protocol=2)
    for core in (b'numpy.core', b'numpy._core'):
        path = tmp_path / 'weights.pkl'
        path.write_bytes(text.replace(b'numpy._core', core))
        assert read_pickle(str(path))['a'].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    'hostile, name',
    [
        (Hostile(os.system, 'touch {mark}'), 'system'),
        (Hostile(eval, "open('{mark}', 'w')"), 'eval'),
        (Hostile(getattr, 'text', 'upper'), 'getattr'),
        (Hostile(np.load, '{mark}', None, True), 'load'),
        (torch.zeros(2), 'torch'),
    ],
)
def test_refuses_by_name_and_executes_nothing(tmp_path, hostile, name):
    mark = tmp_path / 'mark'
    if isinstance(hostile, Hostile):
        function, arguments = hostile.call
        hostile = Hostile(
            function,
            *(
                one.format(mark=mark) if isinstance(one, str) else one
                for one in arguments
            ),
        )
    path = write(tmp_path, {'model': {'a': np.zeros(2)}, 'other': hostile})
    with pytest.raises(UserError, match=f'asks for .*{name}.*Nothing'):
        read_pickle(path)
    assert not mark.exists()


def test_refuses_names_inside_names(tmp_path):
    """Protocol 4 can ask for an attribute of an attribute."""
    path = tmp_path / 'weights.pkl'
    path.write_bytes(b'\x80\x04\x8c\x05numpy\x8c\x10ndarray.tofile.x\x93.')
    with pytest.raises(UserError, match=r'numpy\.ndarray\.tofile\.x'):
        read_pickle(str(path))


@pytest.mark.parametrize(
    'content, message',
    [
        ({'model': {'a': 'text'}}, 'a is str, not an array'),
        ({'model': {'a': np.array([{}])}}, "asks for numpy.dtype 'O8'"),
        ({'model': {'a': np.array(['x'])}}, "asks for numpy.dtype 'U1'"),
        ({'model': {'a': np.ndarray}}, 'a is type, not an array'),
        ({'model': {}}, 'no dict of arrays'),
        ([1, 2], 'no dict of arrays'),
    ],
)
def test_refuses_what_is_no_number(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_pickle(write(tmp_path, content))


def test_damaged(tmp_path):
    path = Path(write(tmp_path, {'model': {'a': np.arange(100.0)}}))
    whole = path.read_bytes()
    for end in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match='no complete pickle'):
            read_pickle(str(path))
