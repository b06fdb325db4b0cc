"""``mmfrcnn lr``: what it prints and writes, and what it leaves alone."""

from __future__ import annotations

import csv
from itertools import pairwise

import pytest

from tests.end_to_end.tiny import assert_user_error, make_config
from tests.tools import run_tool

MORE = """
_base_ = './tiny.py'
# What a training would do beside training.
work_dir = 'mine'
vis_backends = [dict(type='TensorboardVisBackend', save_dir='board')]
visualizer = dict(vis_backends=vis_backends)
param_scheduler = [dict(type='MultiStepLR', milestones=[1])]
optim_wrapper = dict(
    accumulative_counts=2,
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
auto_scale_lr = dict(enable=True)
"""


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return make_config(tmp_path_factory.mktemp('lr'))


def test_a_range_is_found_and_nothing_else_is_left(config):
    folder = config.parent
    before = {path for path in folder.rglob('*')}
    done = run_tool(
        'lr.py',
        *('tiny.py', '--iterations', 25, '--device', 'cpu', '--out', 'new/rates.csv'),
        *('--cfg-options', 'train_dataloader.batch_size=2'),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert set(folder.rglob('*')) - before == {folder / 'new', folder / 'new/rates.csv'}
    with open(folder / 'new/rates.csv', newline='') as stream:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
    assert 10 < len(rows) < 25  # a hundred times the config's rate is too much
    assert rows[0]['rate'] == pytest.approx(1e-4)
    factors = [b['rate'] / a['rate'] for a, b in pairwise(rows)]
    assert factors == pytest.approx([1e4 ** (1 / 24)] * len(factors))
    finite = [row['smoothed'] for row in rows if row['smoothed'] < float('inf')]
    assert not rows[-1]['smoothed'] <= 4 * min(finite)
    best = min(rows, key=lambda row: row['smoothed'])
    assert f'rises beyond {best["rate"]:.3g}.' in done.stdout
    line = f'--cfg-options optim_wrapper.optimizer.lr={best["rate"] / 10:.2g}'
    assert line in done.stdout
    assert "the config's rate" in done.stdout and 'diverged' in done.stdout
    assert 'WARNING' not in done.stdout


def test_a_config_with_all_that_training_may_have(config):
    folder = config.parent
    (folder / 'more.py').write_text(MORE)
    before = {path for path in folder.rglob('*')}
    done = run_tool(
        'lr.py',
        *('more.py', '--iterations', 10, '--device', 'cpu'),
        *('--from', 1e-6, '--to', 1e-5),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert set(folder.rglob('*')) == before
    table = [line.split() for line in done.stdout.splitlines()]
    rates = [float(words[0]) for words in table if words and words[0][:1].isdigit()]
    assert min(rates) == 1e-6 and max(rates) == 1e-5


@pytest.mark.parametrize(
    'arguments, words',
    [
        (('--iterations', 3), ('--iterations', '10')),
        (('--from', 1, '--to', 0.1), ('--from 1 --to 0.1', 'rise')),
        (('--from', 0), ('--from 0', 'above 0')),
        (('--cfg-options', 'optim_wrapper.optimizer.lr=0'), ('optimizer.lr is 0',)),
        (('--out', 'tiny.py'), ('--out tiny.py', 'another file')),
    ],
)
def test_what_cannot_be_tested_is_said(config, arguments, words):
    done = run_tool('lr.py', 'tiny.py', *arguments, cwd=config.parent)
    assert_user_error(done, *words)
