"""Training on an image that gives no finite loss, and at a far too high rate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.end_to_end.hostile_pixels import InfinitePixel
from tests.end_to_end.tiny import make_config, run_here
from tests.tools import run_ranks

MORE = """
_base_ = './tiny.py'
custom_imports = dict(
    imports=['tests.end_to_end.hostile_pixels'], allow_failed_imports=False)
hostile = dict(type='InfinitePixel', name='{name}', first={first}, last={last},
               rank={rank})
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 96), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    hostile,
    dict(type='PackDetInputs')]))
val_dataloader = val_cfg = val_evaluator = None
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=1))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=2),
    dict(type='CosineAnnealingLR', by_epoch=True, eta_min=1e-3, T_max=50)]
train_cfg = dict(max_epochs={epochs})
"""
# The preflight looks at no pixels through the pipeline: an image is seen once an epoch.


@pytest.fixture
def make(tmp_path):
    """Return a maker of configs with a hostile image, 005.png: the second batch's."""
    make_config(tmp_path)

    def write(first=1, last=10**6, rank=0, epochs=3, name='005.png') -> Path:
        InfinitePixel.seen = 0
        config = tmp_path / 'hostile.py'
        names = dict(first=first, last=last, rank=rank, epochs=epochs, name=name)
        config.write_text(MORE.format(**names))
        return config

    return write


def train(config, *options):
    folder = config.parent / 'run'
    words = ('--work-dir', folder, '--device', 'cpu', *options)
    return run_here('train', config, *words), folder


def weights_of(path):
    return torch.load(path, weights_only=True)['state_dict']


def rates_of(path):
    state = torch.load(path, weights_only=True)
    return [group['lr'] for group in state['optimizer']['param_groups']]


def test_a_hostile_image_is_named_dumped_and_replayed(make, capsys):
    config = make(first=2)
    code, folder = train(config)
    said = capsys.readouterr().err
    assert code == 2
    # Read at the end of epoch 2, of which the second batch is the fourth iteration.
    assert re.search(r'error: loss_rpn_cls is nan.* at iteration 4, on .*005.png', said)
    assert '7 boxes on 4 images; the smallest side is ' in said
    rate = rates_of(folder / 'epoch_1.pth')[0]
    assert f'(it is {rate:.3g})' in said
    assert re.search(r'norm of the gradient: \d\S* in the update before', said)
    dump = folder / 'nan/iter_4.pth'
    assert f'mmfrcnn replay {dump}' in said
    assert not (folder / 'epoch_2.pth').exists()

    assert run_here('replay', dump, '--device', 'cpu') == 0
    said = capsys.readouterr().out
    assert 'iteration 4, 4 images, fp32' in said and 'Reproduced' in said
    # The data preprocessor is where it comes in.
    assert 'output that is not finite is that of data_preprocessor' in said
    assert '1 of 36864 not finite' in said  # 3 * 96 * 128
    assert re.search(r'loss_rpn_bbox +nan +not finite', said)
    assert run_here('replay', dump, '--device', 'cpu', '--config', config) == 0


def test_a_replay_of_what_is_finite_says_so(make, capsys):
    _, folder = train(make())
    dump = folder / 'nan/iter_2.pth'
    contents = torch.load(dump, weights_only=True)
    step = contents['step']
    step['inputs'] = [one.nan_to_num(posinf=0) for one in step['inputs']]
    step['torch'] = '\x1b[31m2.0'
    torch.save(contents, dump)
    capsys.readouterr()
    assert run_here('replay', dump, '--device', 'cpu') == 1
    said = capsys.readouterr().out
    assert 'Not reproduced: here it is finite.' in said
    assert 'torch ?[31m2.0' in said  # no file colours a terminal


def test_a_rate_that_is_far_too_high_is_replayed_with_the_weights_it_made(make, capsys):
    config = make(first=10**6)
    code, folder = train(config, '--cfg-options', 'optim_wrapper.optimizer.lr=1e8')
    said = capsys.readouterr().err
    assert code == 2 and 'at iteration 2, ' in said and 'reach' not in said
    assert run_here('replay', folder / 'nan/iter_2.pth', '--device', 'cpu') == 0
    said = capsys.readouterr().out
    assert 'Reproduced' in said and 'not finite is that of backbone.' in said


def test_skip_leaves_the_step_out_and_trains_to_the_end(make, capsys):
    config = make()
    code, folder = train(config, '--on-nan', 'skip')
    assert code == 0
    said = capsys.readouterr().out
    assert said.count('this step was left out, and training goes on') == 3
    assert '(3 so far)' in said and said.count('mmfrcnn replay') == 1
    skipped = weights_of(folder / 'epoch_3.pth')
    assert all(one.isfinite().all() for one in skipped.values())
    assert run_here('replay', folder / 'nan/iter_2.pth', '--device', 'cpu') == 0


def test_rollback_goes_on_from_the_last_checkpoint_with_half_the_rate(make, capsys):
    config = make(first=2, last=2)
    code, folder = train(config, '--on-nan', 'rollback')
    assert code == 0
    said = capsys.readouterr().out
    assert f'Going back to {folder / "epoch_1.pth"}, with half the learn' in said
    assert '(1 of 3 times)' in said
    halved = rates_of(folder / 'epoch_3.pth')
    other = folder.with_name('other')
    code, _ = train(make(first=10**6), '--work-dir', other)
    assert code == 0
    whole = rates_of(other / 'epoch_3.pth')
    assert halved == pytest.approx([rate / 2 for rate in whole])


def test_rollback_ends_after_three_times_and_then_says_why(make, capsys):
    config = make(first=2)
    code, folder = train(config, '--on-nan', 'rollback')
    assert code == 2
    said = capsys.readouterr()
    assert said.out.count('Going back to ') == 3 and '(3 of 3 times)' in said.out
    rate = rates_of(folder / 'epoch_1.pth')[0]
    assert f'(it is {rate / 8:.3g})' in said.err


def test_rollback_without_a_checkpoint_begins_anew(make, capsys):
    config = make(first=1, last=1, epochs=1)
    code, folder = train(config, '--on-nan', 'rollback')
    assert code == 0
    assert 'Begun anew, as there is no checkpoint' in capsys.readouterr().out
    (rate,) = rates_of(folder / 'epoch_1.pth')
    assert rate < 0.0051


def train_two(config, on_nan):
    folder = config.parent / 'run'
    words = (config, '--work-dir', folder, '--device', 'cpu', '--on-nan', on_nan)
    batch = ('--cfg-options', 'train_dataloader.batch_size=2')
    done = run_ranks('train.py', *words, *batch)
    assert [one.returncode for one in done] == [0, 0], done[0].stderr + done[1].stderr
    assert (folder / 'epoch_3.pth').exists()
    dumps = [path.name for path in (folder / 'nan').iterdir()]
    assert len(dumps) == 1 and dumps[0].endswith('_rank_1.pth')
    said = [one.stdout + one.stderr for one in done]
    assert 'on images of another process' in said[0]
    assert '006.png' in said[1] and f'mmfrcnn replay {folder}/nan/{dumps[0]}' in said[1]
    return said


def test_two_processes_go_back_together(make):
    said = train_two(make(first=2, last=2, rank=1, name='006.png'), 'rollback')
    assert 'Going back to ' in said[0] and 'Going' not in said[1]


def test_two_processes_leave_out_the_same_step(make):
    said = train_two(make(first=2, last=2, rank=1, name='006.png'), 'skip')
    assert 'this step was left out' in said[0]
