"""A tiny detector and data set, trained in four steps within this process."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

import mmfrcnn  # noqa: F401  (before mmdet)
from tests.end_to_end.tiny import make_config

ALTERNATING = """
_base_ = './tiny.py'
# Batch norm learns its statistics, in the neck too: frozen must mean those as well.
model = dict(
    type='AlternatingFasterRCNN',
    backbone=dict(norm_eval=False),
    neck=dict(norm_cfg=dict(type='BN')))
train_dataloader = dict(sampler=dict(shuffle=True), batch_size=3)
train_cfg = dict(
    _delete_=True, type='AlternatingTrainLoop',
    rpn=dict(max_iters=4), rcnn=dict(max_iters=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=3),
    dict(type='MultiStepLR', by_epoch=False, milestones=[3])]
log_processor = dict(type='StepLogProcessor', by_epoch=False)
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=2, max_keep_ckpts=-1),
    logger=dict(interval=1))
"""


@pytest.fixture(scope='session')
def alternating_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file of alternating training: 18 iterations on eight images."""
    folder = tmp_path_factory.mktemp('alternating')
    make_config(folder)
    config = folder / 'alternating.py'
    config.write_text(ALTERNATING)
    return config


class StepRecorder(Hook):
    """Keeps the network, and what the optimizer has, at both ends of each step."""

    def __init__(self) -> None:
        self.begin: list[dict[str, Tensor]] = []
        self.end: list[dict[str, Tensor]] = []
        self.optimized: list[set[str]] = []
        self.rates: list[list[float]] = []

    def before_train_epoch(self, runner: Runner) -> None:
        """Note the weights, and which of them the optimizer has."""
        self.begin.append(copy.deepcopy(runner.model.state_dict()))
        names = {id(p): name for name, p in runner.model.named_parameters()}
        groups = runner.optim_wrapper.optimizer.param_groups
        self.optimized.append({names[id(p)] for g in groups for p in g['params']})
        self.rates.append([])

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None
    ) -> None:
        """Note the learning rate."""
        self.rates[-1] += runner.optim_wrapper.get_lr()['lr'][:1]

    def after_train_epoch(self, runner: Runner) -> None:
        """Note the weights."""
        self.end.append(copy.deepcopy(runner.model.state_dict()))


class IterationRecorder(Hook):
    """Keeps the images, the loss and the optimizer's memory of each iteration."""

    def __init__(self) -> None:
        self.loss: dict[int, float] = {}
        self.momentum: dict[int, float] = {}
        self.images: dict[int, list[int]] = {}

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None
    ) -> None:
        """Note the images, and the momentum that an iteration begins with."""
        state = runner.optim_wrapper.optimizer.state.values()
        memory = [
            one['momentum_buffer'].norm().item()
            for one in state
            if 'momentum_buffer' in one
        ]
        self.momentum[runner.iter] = sum(memory)
        samples = data_batch['data_samples']
        self.images[runner.iter] = [sample.img_id for sample in samples]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Note the loss."""
        self.loss[runner.iter] = outputs['loss'].item()


@pytest.fixture(scope='session')
def build(alternating_config: Path) -> Callable[..., Runner]:
    """Return what builds a Runner of the tiny config in a work folder."""

    def build(work_dir: Path, **changes: object) -> Runner:
        config = Config.fromfile(alternating_config)
        config.merge_from_dict({'work_dir': str(work_dir), **changes})
        config.experiment_name = work_dir.name
        return Runner.from_cfg(config)

    return build


@pytest.fixture(scope='session')
def trained(
    build: Callable[..., Runner], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Runner, StepRecorder]:
    """A whole alternating training, and what its steps began and ended with."""
    threads = torch.get_num_threads()
    runner = build(tmp_path_factory.mktemp('trained'))
    recorder = StepRecorder()
    runner.register_hook(recorder, priority='LOWEST')
    runner.iterations = IterationRecorder()
    runner.register_hook(runner.iterations)
    runner.train()
    torch.set_num_threads(threads)
    return runner, recorder
