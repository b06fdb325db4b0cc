"""The demo at a tiny budget: trained, evaluated, drawn; and quick the second time."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import cv2
import pytest

from mmfrcnn.data.shapes.generate import make_shapes
from tests.tools import run_tool


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


def demo(work_dir: Path, options: list[str]) -> subprocess.CompletedProcess:
    arguments = ['--work-dir', work_dir, '--num-pictures', 2]
    return run_tool('demo.py', *arguments, '--cfg-options', *options, timeout=300)


def test_demo_trains_evaluates_and_draws_and_runs_again_at_once(tmp_path, options):
    first = demo(tmp_path, options)
    assert first.returncode == 0, first.stdout + first.stderr
    assert re.fullmatch(r'bbox_mAP = [01]\.\d{3}', first.stdout.splitlines()[-1])
    pictures = sorted((tmp_path / 'pictures').iterdir())
    assert [file.suffix for file in pictures] == ['.jpg', '.png', '.png']
    for file in pictures:
        picture = cv2.imread(str(file))
        assert picture.std() > 10
    panel = cv2.imread(str(pictures[-1]))
    assert panel.shape[1] == 3 * 2 * 320 + 2 * 6  # three pictures at twice the size

    again = demo(tmp_path, options)
    assert again.returncode == 0, again.stdout + again.stderr
    assert 'eta: ' not in again.stdout  # not trained again
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
