"""docs/first_steps.ipynb, cell by cell, as Jupyter would run it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmfrcnn.data.shapes.layout import HEIGHT, WIDTH
from mmfrcnn.data.shapes.outlines import CLASSES
from mmfrcnn_console import COMMANDS
from tests.tools import run_forked


@pytest.fixture
def cells(repo_root):
    notebook = json.loads((repo_root / 'docs/first_steps.ipynb').read_text('utf-8'))
    return [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']


def run_command(line: str, repo_root: Path) -> None:
    """Run what follows an exclamation mark."""
    program, command, *arguments = shlex.split(line)
    assert program == 'mmfrcnn'
    tool = repo_root / f'tools/{COMMANDS[command][0]}.py'
    result = run_forked([str(tool), *arguments], Path.cwd())
    assert result.returncode == 0, f'{line}\n{result.stdout}\n{result.stderr}'


def test_no_outputs_are_stored(cells):
    assert not any(cell['outputs'] or cell['execution_count'] for cell in cells)


def test_every_cell_runs(cells, repo_root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in cells:
        source = ''.join(cell['source'])
        if source.startswith('!'):
            run_command(source[1:], repo_root)
        else:
            exec(compile(source, 'first_steps.ipynb', 'exec'), names)
    said = capsys.readouterr().out
    assert "_base_ = 'mmfrcnn::_base_/own/" in said
    assert names['detector'].classes == CLASSES
    assert names['found'].image_size == (WIDTH, HEIGHT)
    run = Config.fromfile('work_dirs/shapes/shapes.py')
    assert run.scale == (160, 120) and run.max_epochs == 1
