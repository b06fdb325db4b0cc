"""The stand-in for ``mmcv._ext``: what it serves, what it refuses, when it yields."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import mmcv
import pytest
import torch
from mmcv.ops import box_iou_rotated, get_compiler_version, nms_rotated
from mmengine.utils.dl_utils.misc import mmcv_full_available

from mmfrcnn import compat
from mmfrcnn.compat.extension import ExtensionFinder, OpNotServedError
from mmfrcnn.compat.ops import SERVED

extension = importlib.import_module('mmcv._ext')

pytestmark = pytest.mark.skipif(
    getattr(extension, '__file__', None) is not None,
    reason='a compiled mmcv is installed and serves the ops itself',
)


def ops_of_mmcv():
    """Return every op name that mmcv.ops asks of its compiled part."""
    names = set()
    for file in Path(mmcv.__file__).parent.glob('ops/*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and 'load_ext' in ast.unparse(node.func):
                names.update(ast.literal_eval(node.args[1]))
    return names


def test_every_op_exists_and_those_not_served_raise_when_called():
    names = ops_of_mmcv()
    assert len(names) > 80
    assert names > set(SERVED)
    for name in names - set(SERVED):
        with pytest.raises(OpNotServedError, match=f"'{name}'.*onedl-mmcv"):
            getattr(extension, name)()


def test_mmcvs_functions_raise_the_same():
    boxes = torch.tensor([[5.0, 5, 4, 2, 0.3]])
    with pytest.raises(OpNotServedError, match="'box_iou_rotated'"):
        box_iou_rotated(boxes, boxes)
    with pytest.raises(OpNotServedError, match="'nms_rotated'"):
        nms_rotated(boxes, torch.ones(1), 0.5)


def test_it_is_a_module_with_a_spec():
    assert extension.__spec__.name == 'mmcv._ext'
    assert importlib.util.find_spec('mmcv._ext') is not None
    assert mmcv_full_available()
    assert 'torchvision' in get_compiler_version()
    assert not hasattr(extension, '__wrapped__')


def test_installing_again_changes_nothing():
    before = list(sys.meta_path)
    compat.install()
    assert sys.meta_path == before
    assert sum(isinstance(finder, ExtensionFinder) for finder in before) == 1
    kinds = [type(finder) for finder in before]
    assert kinds.index(ExtensionFinder) > before.index(PathFinder)


def test_it_finds_nothing_else():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('mmcv._extension')
    assert ExtensionFinder().find_spec('_ext') is None


def test_a_compiled_mmcv_wins(tmp_path):
    """One in mmcv's folder is found by Python's own finder, which comes first."""
    folder = tmp_path / 'mmcv'
    folder.mkdir()
    (folder / '__init__.py').touch()
    (folder / '_ext.py').write_text("nms = 'compiled'\n")
    code = (
        'from mmfrcnn.compat import extension; extension.install()\n'
        'import mmcv._ext; print(mmcv._ext.nms)'
    )
    # Without the package's own __init__, which would import mmdet.
    stub = tmp_path / 'mmfrcnn'
    stub.mkdir()
    (stub / '__init__.py').touch()
    (stub / 'compat').symlink_to(Path(compat.__file__).parent)
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env={'PYTHONPATH': str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == 'compiled', done.stderr
