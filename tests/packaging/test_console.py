"""The command ``mmfrcnn``: complete, quick to answer, and the tools themselves."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import mmfrcnn_console
from mmfrcnn.data.shapes.generate import make_shapes
from mmfrcnn_console import COMMANDS
from tests.tools import environment, run_forked

OF_A_CHECKOUT = {'benchmark', 'gpu_check'}
"""They need what lies beside the package."""
NO_COMMANDS = {'start', 'torchrun'}
CONFIG = """
_base_ = 'mmfrcnn::shapes/faster-rcnn_r18_fpn_shapes.py'
train_cfg = dict(max_iters=2, val_interval=2)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
default_hooks = dict(checkpoint=dict(interval=2))
param_scheduler = []
"""
OF_MMENGINE = ('"FileClient"', '"HardDiskBackend"')
"""What every training warns of, from whatever config."""


def call(*words: str) -> int | None:
    """Call the command in this process; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['mmfrcnn', *words])
        patch.setattr(sys, 'path', sys.path[:])
        try:
            return mmfrcnn_console.main()
        except SystemExit as end:
            return end.code


def test_every_tool_has_its_command(repo_root):
    tools = {path.stem for path in (repo_root / 'tools').glob('*.py')}
    commands = {tool for tool, _ in COMMANDS.values()}
    assert commands == tools - OF_A_CHECKOUT - NO_COMMANDS


def test_help_imports_neither_torch_nor_the_package(tmp_path):
    """Said by one interpreter in which none of them can be imported."""
    program = (
        'import sys\n'
        'for name in ("torch", "numpy", "mmengine", "mmdet", "mmfrcnn"):\n'
        '    sys.modules[name] = None\n'
        'from mmfrcnn_console import COMMANDS, main\n'
        'sys.argv = ["mmfrcnn"]\n'
        'assert main() == 0\n'
        'for name in COMMANDS:\n'
        '    sys.argv = ["mmfrcnn", name, "--help"]\n'
        '    try:\n'
        '        main()\n'
        '    except SystemExit as end:\n'
        '        assert not end.code\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name, (tool, says) in COMMANDS.items():
        assert f'  {name} ' in done.stdout and says in done.stdout
        assert f'usage: mmfrcnn {name} ' in done.stdout
        if tool != 'doctor':  # which names both ways
            assert f'python tools/{tool}.py' not in done.stdout


def test_the_list_fits_a_screen(capsys):
    assert call() == call('--help') == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) / 2 <= 24
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ('word', 'meant'),
    [
        ('trian', 'train'),
        ('make_shapes', 'make-shapes'),
        ('convert_dataset', 'convert'),
        ('Browse', 'browse'),
        ('--version', None),
        ('', None),
    ],
)
def test_a_mistyped_command(capsys, word, meant):
    assert call(word) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'error: no command {word!r}.')
    assert (f'Did you mean {meant!r}?' in line) == (meant is not None)


def test_python_m(repo_root, monkeypatch, capsys):
    """What ``python -m mmfrcnn`` runs; the demo's own steps are started by that."""
    monkeypatch.setattr(sys, 'argv', ['-m', 'trian'])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_path(str(repo_root / 'projects/mmfrcnn/__main__.py'), {}, '__main__')
    assert "Did you mean 'train'?" in capsys.readouterr().err


def test_from_a_folder_of_ones_own(tmp_path):
    """Trained from a config on a shipped one; tested with the config that it left."""
    make_shapes(tmp_path / 'data/shapes', counts={'train': 4, 'val': 2}, workers=1)
    (tmp_path / 'mine.py').write_text(CONFIG)
    script = tmp_path / 'mmfrcnn'
    script.write_text('from mmfrcnn_console import main\nraise SystemExit(main())')

    def run(*words: str) -> str:
        done = run_forked([str(script), *words], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        for line in (done.stdout + done.stderr).splitlines():
            assert ' - WARNING - ' not in line or any(w in line for w in OF_MMENGINE)
        return done.stdout

    assert 'coco/bbox_mAP' in run('train', 'mine.py')
    left = Path('work_dirs/mine')
    assert "_scope_='mmdet'" in (tmp_path / left / 'mine.py').read_text()
    checkpoint = str(left / 'iter_2.pth')
    assert 'coco/bbox_mAP' in run(
        *('test', str(left / 'mine.py'), checkpoint, '--work-dir', 'tested')
    )
