"""What is said where a part of the stack is not installed, or was imported before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import environment

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
ARGUMENTS = {
    'anchors': 'a.py',
    'benchmark': '--infer',
    'browse_dataset': 'a.py --out-dir out',
    'convert_dataset': '--from voc --to coco a b',
    'convert_weights': '--from mmdet a.pth b.pth',
    'demo': '',
    'gpu_check': '',
    'lr': 'a.py',
    'make_shapes': '',
    'new': 'data',
    'predict': 'a.jpg a.py a.pth --out-dir out',
    'replay': 'a.pth',
    'report': 'a.py a.pth',
    'store_proposals': 'a.py a.pth out.npz',
    'test': 'a.py a.pth',
    'train': 'a.py',
}
ALONE = {'doctor', 'start', 'torchrun'}
"""They import nothing of the package."""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder of its own."""
    return subprocess.run(
        [sys.executable, '-c', code],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )


def without(modules: list[str]) -> str:
    """Return the beginning of a program in which modules are as if not installed."""
    return ''.join(f'import sys; sys.modules[{name!r}] = None\n' for name in modules)


@pytest.mark.parametrize('missing', [['mmdet'], ['mmcv', 'mmengine', 'mmdet']])
def test_the_import_ends_with_the_command_that_installs_it(tmp_path, missing) -> None:
    result = python(without(missing) + 'import mmfrcnn', tmp_path)
    last = result.stderr.splitlines()[-1]
    assert last.startswith('ModuleNotFoundError: mmfrcnn needs mm')
    assert 'pip install' in last and 'mmdet==3.3.0' in last
    assert ('mmcv-lite==2.1.0' in last) == ('mmcv' in missing)


def test_every_tool_says_in_one_line_what_is_missing(tmp_path) -> None:
    assert ARGUMENTS.keys() | ALONE == {path.stem for path in TOOLS.glob('*.py')}
    for name, arguments in ARGUMENTS.items():
        path = str(TOOLS / f'{name}.py')
        code = (
            f'{without(["mmdet"])}import runpy\n'
            f'sys.path[0] = {str(TOOLS)!r}\n'
            f'sys.argv = {[path, *arguments.split()]!r}\n'
            f'runpy.run_path({path!r}, run_name="__main__")\n'
        )
        result = python(code, tmp_path)
        assert result.returncode == 2, name
        (line,) = result.stderr.splitlines()
        assert line.startswith('error: mmfrcnn needs mmdet: ')
        assert 'pip install mmdet==3.3.0' in line
        assert '`mmfrcnn doctor` says what is missing' in line
    assert not list(tmp_path.iterdir())


def test_mmdet_may_be_imported_before(tmp_path) -> None:
    """Not its ``apis``, which need operators that only ``import mmfrcnn`` serves."""
    result = python(
        'import mmengine, mmengine.runner, mmcv, mmdet, mmdet.registry\n'
        'try:\n'
        '    import mmdet.apis\n'
        'except ModuleNotFoundError as error:\n'
        '    print(error)\n'
        'import mmfrcnn, mmdet.apis, torch, mmcv.ops\n'
        'boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.]])\n'
        'print(mmcv.ops.nms(boxes, torch.tensor([.8, .9]), .5)[1].tolist())\n',
        tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == '[1]'
