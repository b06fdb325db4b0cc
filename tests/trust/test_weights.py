"""No file of weights executes anything, by any way in; each is refused in one line."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from pathlib import Path

import pytest

from mmfrcnn.errors import UserError
from mmfrcnn.weights.files import read_tensors
from tests.end_to_end.tiny import assert_user_error, make_config
from tests.tools import run_tool
from tests.trust.bounded import bounded
from tests.trust.conftest import is_marked
from tests.trust.containers import CONTAINERS
from tests.trust.pickles import CALLS, calling, programs, whole
from tests.trust.weights import ARRAYS, LARGE, USELESS

EVERYWHERE = ('os:system', 'REDUCE', 'a call and no end')
"""Programs that are put into every container."""
WAYS = (
    *('test', 'resume', 'load_from', 'init_cfg', 'predict', 'Detector'),
    *('Detector, config', 'DetInferencer', 'DetInferencer, config', 'init_detector'),
    *('load_checkpoint', 'convert-weights, mmdet', 'convert-weights, torchvision'),
    *('convert-weights, detectron2', 'replay', 'replay, config'),
)
FEW = ('pickle', 'legacy', 'zip', 'tar')
"""Containers that are tried by every way."""


def check(message: str, path: Path) -> None:
    """Check a refusal: it is one line that names the file."""
    assert message, f'{path} was not refused'
    assert str(path) in message and '\n' not in message and len(message) < 600


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as refused:
        read_tensors(str(path))
    return str(refused.value)


def test_most_of_the_programs_do_leave_a_mark(mark):
    """The danger is real: Python's own reader of pickles executes them."""
    slow = ('pty:spawn', 'subprocess:Popen', 'timeit:timeit')
    asks = ('code:interact', 'trace:main', 'pdb:run', 'webbrowser:open', 'doctest:')
    found, rest = [], programs(str(mark))
    for title, program in rest.items():
        if title.startswith((*slow, *asks, 'builtins:__import__', 'importlib:')):
            continue
        if 'opcode' in title or title.startswith(('torch', 'mm', 'numpy')):
            continue
        with suppress(BaseException):
            pickle.loads(program)
        if is_marked(mark):
            found.append(title)
        clean(mark)
    assert len(found) > 50 and 'REDUCE' in found and 'EXT1' in found


def clean(mark: Path) -> None:
    for file in mark.parent.glob('mark*'):
        if file.is_dir() and not file.is_symlink():
            file.rmdir()
        else:
            file.unlink()


@pytest.mark.parametrize('container', CONTAINERS)
def test_no_pickle_in_a_file_is_executed(container, mark, tmp_path):
    every = programs(str(mark))
    full = container in ('pickle', 'legacy', 'zip')
    for title, program in every.items():
        if not full and title not in EVERYWHERE:
            continue
        content = CONTAINERS[container](program)
        for suffix in ('.pth', '.pkl', '.pt', '.bin', '.safetensors'):
            if suffix not in ('.pth', '.pkl') and title not in EVERYWHERE:
                continue
            path = tmp_path / f'x{suffix}'
            path.write_bytes(content)
            check(refusal(path), path)
            assert not is_marked(mark), (title, suffix)


@pytest.mark.parametrize('way', WAYS)
def test_by_no_way_in_is_one_executed(way, ways, mark, tmp_path):
    assert set(WAYS) == set(ways)
    for container in FEW:
        path = tmp_path / f'{FEW.index(container)}.pth'
        path.write_bytes(CONTAINERS[container](programs(str(mark))['REDUCE']))
        check(ways[way](path), path)
    path = tmp_path / 'x.pth'
    for title in ('os:system', 'builtins:getattr'):
        path.write_bytes(CONTAINERS['zip'](whole(calling(title, str(mark)))))
        check(ways[way](path), path)
    assert not is_marked(mark)


def test_names_are_those_that_the_programs_call():
    """So that a row that says nothing, such as a wrong name, is seen."""
    assert all(path.count(':') == 1 for path in CALLS)
    assert len(CALLS) > 70


@pytest.mark.parametrize('kind', LARGE)
def test_what_asks_for_more_than_it_is_is_refused_soon(kind, ways, tmp_path):
    path = tmp_path / 'x.pth'
    path.write_bytes(LARGE[kind]())
    for way in ('load_checkpoint', 'convert-weights, mmdet', 'Detector'):
        with bounded():
            check(ways[way](path), path)


@pytest.mark.parametrize('kind', USELESS)
def test_what_has_no_values_is_refused_where_it_is_used(kind, ways, tmp_path):
    path = tmp_path / 'x.pth'
    path.write_bytes(USELESS[kind]())
    for way in ('test', 'predict', 'convert-weights, torchvision'):
        with bounded():
            check(ways[way](path), path)


@pytest.mark.parametrize('kind', ARRAYS)
def test_pickles_of_arrays_ask_for_no_more(kind, tmp_path):
    path = tmp_path / 'x.pkl'
    path.write_bytes(ARRAYS[kind])
    with bounded():
        check(refusal(path), path)


@pytest.mark.parametrize('suffix', ['.pth', '.pkl', '.safetensors'])
def test_pipes_are_not_waited_for(suffix, ways, tmp_path):
    path = tmp_path / f'x{suffix}'
    os.mkfifo(path)
    for way in WAYS:
        with bounded():
            check(ways[way](path), path)


def test_so_do_command_lines(mark, tmp_path):
    """In a process of their own, as a user starts them."""
    config = make_config(tmp_path / 'tiny')
    path = tmp_path / 'x.pth'
    path.write_bytes(CONTAINERS['zip'](programs(str(mark))['os:system']))
    image = config.parent / 'data/images/001.png'
    for command in (
        ('test.py', config, path),
        ('predict.py', image, config, path, '--out-dir', tmp_path / 'found'),
        ('convert_weights.py', '--from', 'mmdet', path, tmp_path / 'out.pth'),
    ):
        done = run_tool(*command, cwd=tmp_path)
        assert_user_error(done, str(path), 'system')
    assert not is_marked(mark)
