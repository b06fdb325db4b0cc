"""A GPU's memory that runs out: half the batch, half the rate, and it is said."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
from argparse import Namespace
from importlib import import_module

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from mmfrcnn.cli import run_command
from mmfrcnn.cli.out_of_memory import while_memory_lasts
from mmfrcnn.errors import UserError
from tests.end_to_end.tiny import make_config, run_here

REASON = 'CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total'


def make(tmp_path, batch_size=8, **more) -> Config:
    return Config(
        dict(
            work_dir=str(tmp_path),
            train_dataloader=dict(batch_size=batch_size),
            optim_wrapper=dict(optimizer=dict(lr=0.02)),
            **more,
        )
    )


def train_within(config, most):
    """Return what runs out of memory with more images than so many."""
    tried = []

    def train():
        tried.append(config.train_dataloader.batch_size)
        if tried[-1] > most:
            raise torch.OutOfMemoryError(REASON)
        return tried

    return train


def test_batch_and_rate_are_halved_until_it_fits(tmp_path, capsys):
    schedule = [
        dict(type='OneCycleLR', eta_max=0.02, end=9),
        dict(type='CosineAnnealingLR', eta_min_ratio=0.1),
    ]
    config = make(tmp_path, param_scheduler=schedule)
    assert while_memory_lasts(train_within(config, 3), config) == [8, 4, 2]
    assert config.optim_wrapper.optimizer.lr == pytest.approx(0.005)
    assert config.param_scheduler[0].eta_max == pytest.approx(0.005)
    assert config.param_scheduler[1] == schedule[1]
    assert (
        'CUDA out of memory. Begun anew with 2 images an iteration in place of 4, and '
        'the learning rate scaled to them'
    ) in capsys.readouterr().out


def test_a_rate_that_is_scaled_anyway_is_left(tmp_path):
    config = make(tmp_path, auto_scale_lr=dict(enable=True, base_batch_size=16))
    while_memory_lasts(train_within(config, 4), config)
    assert config.optim_wrapper.optimizer.lr == 0.02


def test_one_schedule_that_is_no_list(tmp_path):
    config = make(tmp_path, param_scheduler=dict(type='OneCycleLR', eta_max=0.02))
    while_memory_lasts(train_within(config, 4), config)
    assert config.param_scheduler == ConfigDict(type='OneCycleLR', eta_max=0.01)


@pytest.mark.parametrize('size', [1, None])
def test_one_image_cannot_be_halved(tmp_path, size):
    config = make(tmp_path, size)
    with pytest.raises(UserError, match=r'CUDA out of memory, with .* Set a smaller'):
        while_memory_lasts(lambda: raise_out_of_memory(), config)


def raise_out_of_memory():
    raise torch.OutOfMemoryError(REASON)


def test_several_processes_are_told_what_to_set(tmp_path):
    config = make(tmp_path, launcher='pytorch')
    with pytest.raises(UserError, match='in one of several processes'):
        while_memory_lasts(train_within(config, 4), config)


def test_a_run_with_checkpoints_is_not_begun_anew(tmp_path):
    config = make(tmp_path)

    def train():
        (tmp_path / 'epoch_1.pth').touch()
        raise torch.OutOfMemoryError(REASON)

    with pytest.raises(UserError, match='in a run with a checkpoint'):
        while_memory_lasts(train, config)


def test_nor_is_one_that_goes_on_from_a_checkpoint(tmp_path):
    config = make(tmp_path, resume=True)
    with pytest.raises(UserError, match='in a run with a checkpoint'):
        while_memory_lasts(train_within(config, 4), config)


@pytest.mark.parametrize(
    ('command', 'remedy'),
    [
        ('test', 'test_dataloader.batch_size'),
        ('predict', '--batch-size'),
        ('report', '--device cpu'),
    ],
)
@pytest.mark.parametrize('prefix', ['', 'Caught it in a thread.\n\nOutOfMemoryError: '])
def test_other_commands_say_it_in_one_line(
    command, remedy, prefix, monkeypatch, capsys
):
    def run(args):
        raise torch.OutOfMemoryError(prefix + REASON + ' capacity of\n7 GiB. Maybe')

    monkeypatch.setattr(import_module(f'mmfrcnn.cli.{command}'), 'run', run)
    assert run_command(command, Namespace()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: CUDA out of memory. ') and remedy in line


def test_another_error_is_let_through(tmp_path):
    config = make(tmp_path)
    with pytest.raises(ZeroDivisionError):
        while_memory_lasts(lambda: 1 / 0, config)


def test_a_real_training_begins_anew(tmp_path, monkeypatch, capsys):
    config = make_config(tmp_path)
    train, sizes = Runner.train, []

    def runs_out(self):
        sizes.append(self.train_dataloader.batch_size if sizes else 4)
        if len(sizes) == 1:
            raise torch.OutOfMemoryError(REASON)
        return train(self)

    monkeypatch.setattr(Runner, 'train', runs_out)
    options = ['--cfg-options', 'train_cfg.max_epochs=1', '--device', 'cpu']
    assert run_here('train', config, '--work-dir', tmp_path / 'run', *options) == 0
    assert 'Begun anew with 2 images' in capsys.readouterr().out
    assert (tmp_path / 'run/epoch_1.pth').exists()
