"""What is said before training: schedules beyond the end, sizes that differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS

from mmfrcnn.cli.run_checks import scale_warnings, schedule_warnings

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def said(config: dict, iters: int, epochs: int, epoch_length: int = 1) -> str:
    """Build a scheduler as the Runner does and return what is said about it."""
    wrapper = build_optim_wrapper(
        torch.nn.Linear(1, 1),
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02)),
    )
    config = dict(config)
    config.setdefault('end', epochs if config.get('by_epoch', True) else iters)
    scheduler = PARAM_SCHEDULERS.build(
        config, default_args=dict(optimizer=wrapper, epoch_length=epoch_length)
    )
    return '\n'.join(schedule_warnings([scheduler], iters, epochs))


WARM_UP = dict(type='LinearLR', start_factor=0.001, by_epoch=False)


def test_a_warm_up_longer_than_the_run_with_the_rate_it_gets_to() -> None:
    text = said(WARM_UP | dict(begin=0, end=500), iters=96, epochs=12)
    # 0.001 + 0.999 * 95 / 499, by hand
    assert '500 iterations' in text and '19.1%' in text and '96 iterations' in text


@pytest.mark.parametrize(
    'config, figures',
    [
        (WARM_UP, '96 iterations'),  # without an end: as long as the run
        (dict(type='ConstantLR', factor=0.1, by_epoch=True, end=20), '10.0%'),
        (dict(type='LinearLR', start_factor=0.1, by_epoch=True, end=13), 'epochs'),
        (dict(type='MultiStepLR', milestones=[8, 16, 22], by_epoch=True), '16, 22'),
        (dict(type='MultiStepLR', milestones=[12], by_epoch=True), '12'),
        (dict(type='MultiStepLR', milestones=[64, 96], by_epoch=False), ': 96'),
        (dict(type='StepLR', step_size=30, by_epoch=True), '30 epochs'),
        (dict(type='OneCycleLR', eta_max=1, total_steps=220, by_epoch=False), '220'),
        (dict(type='CosineAnnealingLR', T_max=100, by_epoch=False, begin=50), '150'),
        (dict(type='PolyLR', by_epoch=False, end=97), '97'),
        (dict(type='ExponentialLR', gamma=0.9, begin=12, end=20), 'never acts'),
        (WARM_UP | dict(by_epoch=True, end=13, convert_to_iter_based=True), '104'),
    ],
)
def test_what_lies_beyond_the_end_is_said(config: dict, figures: str) -> None:
    text = said(config, iters=96, epochs=12, epoch_length=8)
    assert figures in text and len(text.splitlines()) == 1


@pytest.mark.parametrize(
    'config',
    [
        WARM_UP | dict(end=95),
        dict(type='ConstantLR', factor=0.1, by_epoch=False, end=50),
        dict(type='LinearLR', start_factor=1, end_factor=0.01, by_epoch=False),
        dict(type='MultiStepLR', milestones=[8, 11], by_epoch=True),
        dict(type='OneCycleLR', eta_max=1, by_epoch=False),
        dict(type='CosineAnnealingLR', by_epoch=True),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=50),
        dict(type='PolyLR', by_epoch=True),
        dict(type='ExponentialLR', gamma=0.9),
        dict(type='ReduceOnPlateauLR', monitor='loss'),
    ],
)
def test_a_schedule_that_fits_is_passed_over(config: dict) -> None:
    assert said(config, iters=96, epochs=12) == ''


def test_a_schedule_by_epoch_never_acts_in_a_loop_by_iterations() -> None:
    config = dict(type='MultiStepLR', milestones=[8, 11], by_epoch=True)
    assert '8, 11' in said(config, iters=96, epochs=1)


def pipelines(train: dict, test: dict) -> Config:
    """Return a config of two pipelines; the training's data set is wrapped."""
    inner = dict(type='CocoDataset', pipeline=[dict(type='LoadImageFromFile'), train])
    return Config(
        dict(
            train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=inner)),
            val_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=[test])),
        )
    )


RESIZE = dict(type='Resize', scale=(1333, 800), keep_ratio=True)


@pytest.mark.parametrize(
    'train',
    [
        dict(type='Resize', scale=(640, 640)),
        dict(type='mmdet.FixedScaleResize', scale=640),
        dict(type='RandomChoiceResize', scales=[(1333, 480), (1333, 640)]),
        dict(type='RandomResize', scale=(1000, 600), ratio_range=(0.5, 1.3)),
        dict(type='RandomResize', scale=[(1333, 400), (1333, 720)]),
    ],
)
def test_sizes_that_training_never_shows_are_said(train: dict) -> None:
    (line,) = scale_warnings(pipelines(train, RESIZE))
    assert '(1333, 800)' in line


@pytest.mark.parametrize(
    'train',
    [
        dict(type='Resize', scale=(800, 1333)),
        dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)]),
        dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2)),
        dict(type='Resize', scale_factor=2.0),
        dict(type='RandomFlip', prob=0.5),
    ],
)
def test_sizes_that_training_shows_are_passed_over(train: dict) -> None:
    assert list(scale_warnings(pipelines(train, RESIZE))) == []


@pytest.mark.parametrize(
    'path', sorted(CONFIGS.glob('[!_]*/*.py')), ids=lambda path: path.stem
)
def test_a_shipped_config_is_passed_over(path: Path) -> None:
    config = Config.fromfile(path)
    assert list(scale_warnings(config)) == []
    loop = config.train_cfg or {}
    epochs = loop.get('max_epochs', 1)
    iters = loop.get('max_iters', epochs * 7330)
    steps = [loop[name] for name in ('rpn', 'rcnn') if name in loop] or [loop]
    for step in steps:
        schedule = step.get('param_scheduler', config.get('param_scheduler') or [])
        for one in schedule:
            length = step.get('max_iters', iters)
            assert said(one, length, epochs, epoch_length=7330) == ''
