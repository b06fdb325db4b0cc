"""``mmfrcnn.train``: what the command line does, from a program."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import mmfrcnn
from mmfrcnn.errors import UserError
from tests.end_to_end.tiny import make_config, run_here


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('in python')
    make_config(folder)
    return folder


def losses(work_dir: Path) -> list[float]:
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return [record['loss'] for record in records if 'loss' in record]


def test_trains_as_the_command_line_does(folder):
    config = folder / 'tiny.py'
    run = mmfrcnn.train(
        config, work_dir=folder / 'run', device='cpu', train_cfg=dict(max_epochs=2)
    )
    assert run.work_dir == folder / 'run' and run.iterations == 4
    options = ['--cfg-options', 'train_cfg.max_epochs=2', '--device', 'cpu']
    assert run_here('train', config, '--work-dir', folder / 'typed', *options) == 0
    np.testing.assert_allclose(losses(folder / 'run'), losses(folder / 'typed'))
    assert set(run.metrics) >= {'coco/bbox_mAP', 'coco/bbox_mAP_50'}
    found = mmfrcnn.Detector(run.work_dir, 'cpu')(folder / 'data/images/001.png')
    assert found.image_size == (128, 96)
    again = mmfrcnn.train(
        config,
        work_dir=folder / 'run',
        resume=True,
        device='cpu',
        train_cfg=dict(max_epochs=3),
    )
    assert again.iterations == 6


def test_runs_that_begin_in_one_second_are_each_their_own(folder, monkeypatch):
    """In a folder of its own each: logs, losses, results and curves."""
    clock = SimpleNamespace(**vars(time) | {'time': lambda: 1e9})
    monkeypatch.setattr('mmengine.runner.runner.time', clock)
    found = []
    for name, epochs in (('first', 1), ('second', 2)):
        work = folder / name
        length = dict(max_epochs=epochs, val_interval=epochs)
        run = mmfrcnn.train(folder / 'tiny.py', work_dir=work, train_cfg=length)
        assert len(losses(work)) == run.iterations == 2 * epochs
        (log,) = work.glob('*/*.log')
        hub = torch.load(work / f'epoch_{epochs}.pth')['message_hub']
        assert len(hub['log_scalars']['train/loss'].data[0]) == 2 * epochs
        found.append(log.name)
    assert found[0] == found[1]  # else nothing was shown


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(train_cfgs=dict(max_epochs=2)), "Did you mean 'train_cfg'"),
        (dict(train_cfg=dict(max_epoch=2)), 'max_epoch'),
        (dict(resume='nowhere.pth'), 'nowhere.pth'),
        (dict(device='tpu'), '--device tpu'),
        (dict(log=['mlfow']), 'mlfow'),
    ],
)
def test_mistakes_are_those_of_the_command_line(folder, given, message):
    with pytest.raises(Exception, match=message) as caught:
        mmfrcnn.train(folder / 'tiny.py', work_dir=folder / 'none', **given)
    assert isinstance(caught.value, UserError | TypeError)


def test_no_config(folder):
    with pytest.raises(UserError, match='no such config file'):
        mmfrcnn.train(folder / 'nothing.py')
