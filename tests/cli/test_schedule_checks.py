"""What is said of a learning-rate schedule before training."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

import mmfrcnn  # noqa: F401
from mmfrcnn.cli.checking.schedules import Length, schedule_warnings
from mmfrcnn.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def said(schedule: object, iters: int, epochs: int, epoch_length: int = 1) -> str:
    """Return what is said about a schedule for a rate of 0.02."""
    length = Length(iters, epochs, epoch_length)
    return '\n'.join(schedule_warnings(schedule, [{'lr': 0.02}], length))


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
        WARM_UP | dict(end=47),
        dict(type='ConstantLR', factor=0.1, by_epoch=False, end=40),
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


@pytest.mark.parametrize(
    'schedule, figures',
    [
        ([WARM_UP | dict(end=500)], ['500 iterations', '83%', '600 iterations']),
        (
            [
                WARM_UP | dict(end=50),
                dict(type='MultiStepLR', milestones=[8, 11], by_epoch=False),
            ],
            # above: iterations 1 to 10 of the warm-up, from 2.1% to 2.0% of the rate
            ['1% of its value', '590 of the 600', 'MultiStepLR iterations'],
        ),
        (
            dict(type='MultiStepLR', milestones=[8], by_epoch=False),
            ['10% of its value', '592 of the 600'],
        ),
        # by hand: 0.9**44 is the first power under 0.01
        (dict(type='ExponentialLR', gamma=0.9, by_epoch=False), ['556 of the 600']),
        # at eta_max / 25 first; after the end the rate stays at the minimum
        (dict(type='OneCycleLR', eta_max=1, by_epoch=False, end=12), ['589 of']),
        (dict(type='PolyLR', by_epoch=False, end=12), ['1% of', '589 of']),
        (
            dict(type='CosineAnnealingLR', T_max=12, by_epoch=False),
            ['T_max=12', 'until 600', '50 times'],
        ),
    ],
)
def test_a_rate_that_is_hardly_there_is_said(
    schedule: object, figures: list[str]
) -> None:
    text = said(schedule, iters=600, epochs=12, epoch_length=50)
    assert len(text.splitlines()) == 1
    for figure in figures:
        assert figure in text


def test_a_schedule_that_fails_in_the_middle_is_refused() -> None:
    config = dict(type='OneCycleLR', eta_max=1, total_steps=12, by_epoch=False)
    with pytest.raises(UserError, match=r'OneCycleLR fails .* of 600: .* is 12'):
        said(config, iters=600, epochs=12)


@pytest.mark.parametrize(
    'schedule',
    [
        [],
        None,
        # as the field trains: 100 epochs in steps of 30, a third of a run at a tenth
        dict(type='StepLR', step_size=30, by_epoch=True),
        dict(type='PolyLR', power=2, by_epoch=True),
        [
            WARM_UP | dict(end=299),
            dict(type='MultiStepLR', milestones=[67, 92], by_epoch=True),
        ],
        [
            dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
            dict(type='CosineAnnealingLR', T_max=50, begin=50, by_epoch=True),
        ],
        dict(type='CosineAnnealingMomentum', eta_min=0.85, by_epoch=False),
    ],
)
def test_a_schedule_of_the_field_is_passed_over(schedule: object) -> None:
    assert said(schedule, iters=600, epochs=100, epoch_length=6) == ''


@pytest.mark.parametrize(
    'path', sorted(CONFIGS.glob('[!_]*/*.py')), ids=lambda path: path.stem
)
def test_a_shipped_schedule_is_passed_over(path: Path) -> None:
    config = Config.fromfile(path)
    loop = config.train_cfg or {}
    epochs = loop.get('max_epochs', 1)
    steps = [loop[name] for name in ('rpn', 'rcnn') if name in loop] or [loop]
    for step in steps:
        schedule = step.get('param_scheduler', config.get('param_scheduler'))
        # The fewest iterations that an epoch of COCO has: 64 images each.
        iters = step.get('max_iters', epochs * 1833)
        assert said(schedule, iters, epochs, epoch_length=1833) == ''
