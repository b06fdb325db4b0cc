"""The demo at a tiny budget: trained, evaluated, drawn; and quick the second time."""

from __future__ import annotations

import re
import subprocess
import sys

import cv2
import pytest

import mmfrcnn.cli.demo
from mmfrcnn.data.shapes.generate import make_shapes
from tests.end_to_end.tiny import run_here
from tests.tools import REPO, run_forked


@pytest.fixture(scope='module')
def options(tmp_path_factory):
    """Settings that make it small: a few pictures, a few iterations."""
    data = tmp_path_factory.mktemp('shapes')
    make_shapes(data, counts={'train': 8, 'val': 4}, workers=1)
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    annotations = data / 'annotations' / 'instances_val.json'
    return [
        *(f'{loader}.dataset.data_root={data}' for loader in loaders),
        *(f'{loader}.num_workers=0' for loader in loaders),
        *(f'{loader}.persistent_workers=False' for loader in loaders),
        f'val_evaluator.ann_file={annotations}',
        f'test_evaluator.ann_file={annotations}',
        'train_dataloader.batch_size=2',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'default_hooks.checkpoint.interval=2',
    ]


@pytest.fixture
def demo(tmp_path, options, monkeypatch, capfd):
    """Return a function that runs the demo; its last line and what its tools said."""
    said = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        """Stand for subprocess.run: forked, as the imports are half of the time."""
        assert command[:3] == [sys.executable, '-m', 'mmfrcnn']
        script = str(REPO / 'projects/mmfrcnn/__main__.py')
        done = run_forked([script, *command[3:]], REPO, timeout=300)
        said.append(done.stdout + done.stderr)
        return done

    def demo() -> tuple[str, str]:
        said.clear()
        given = ['--work-dir', tmp_path, '--num-pictures', 2, '--cfg-options', *options]
        with monkeypatch.context() as patch:
            patch.setattr(mmfrcnn.cli.demo.subprocess, 'run', run)
            code = run_here('demo', *given)
        assert code == 0, ''.join(said)
        return capfd.readouterr().out.splitlines()[-1], ''.join(said)

    return demo


def test_demo_trains_evaluates_and_draws_and_runs_again_at_once(tmp_path, demo):
    first, said = demo()
    assert 'starting from scratch' in said
    assert re.fullmatch(r'bbox_mAP = [01]\.\d{3}', first)
    pictures = sorted((tmp_path / 'pictures').iterdir())
    assert [file.suffix for file in pictures] == ['.jpg', '.png', '.png']
    for file in pictures:
        picture = cv2.imread(str(file))
        assert picture.std() > 10
    panel = cv2.imread(str(pictures[-1]))
    assert panel.shape[1] == 3 * 2 * 320 + 2 * 6  # three pictures at twice the size

    again, said = demo()
    assert said and 'from scratch' not in said  # not trained again
    assert again == first
