"""Rates scaled in a config or in a checkpoint: training goes on as if begun so."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmengine's registries are filled)

# isort: split
import copy
import warnings

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from mmfrcnn.cli.rates import scale_checkpoint, scale_config

SCHEDULES = {
    'none': [],
    'steps': [
        dict(type='LinearLR', start_factor=0.1, begin=0, end=4),
        dict(type='MultiStepLR', milestones=[5, 7]),
    ],
    'cosine': [dict(type='CosineAnnealingLR', T_max=9, eta_min=0.01)],
    'cosine to a share': [dict(type='CosineAnnealingLR', T_max=9, eta_min_ratio=0.1)],
    'one cycle': [dict(type='OneCycleLR', eta_max=0.4, total_steps=12)],
    'restarts': [
        dict(type='CosineRestartLR', periods=[4, 8], restart_weights=[1, 0.5])
        | dict(eta_min=0.02)
    ],
    'polynomial': [dict(type='PolyLR', eta_min=0.01, end=9)],
    'and momentum': [
        dict(type='ExponentialLR', gamma=0.9),
        dict(type='CosineAnnealingMomentum', T_max=9, eta_min=0.3),
    ],
}


def build(config):
    """Return an optimizer with two groups of a config, and its schedules."""
    layers = [torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)]
    rate = config.optim_wrapper.optimizer.lr
    groups = [
        dict(params=list(layer.parameters()), lr=rate * factor)
        for layer, factor in zip(layers, (1, 0.1), strict=True)
    ]
    wrapper = OptimWrapper(torch.optim.SGD(groups, rate, momentum=0.9))
    schedules = [
        PARAM_SCHEDULERS.build(
            dict(copy.deepcopy(one), by_epoch=False),
            default_args=dict(optimizer=wrapper),
        )
        for one in config.param_scheduler
    ]
    return wrapper, schedules


def go_on(wrapper, schedules, steps):
    """Return the rates and momenta of some steps."""
    found = []
    for _ in range(steps):
        found += [(g['lr'], g['momentum']) for g in wrapper.optimizer.param_groups]
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # no weight is updated between
            for schedule in schedules:
                schedule.step()
    return torch.tensor(found, dtype=torch.float64)


def config_of(name):
    return Config(
        dict(
            optim_wrapper=dict(optimizer=dict(lr=0.2)),
            param_scheduler=SCHEDULES[name],
        )
    )


@pytest.mark.parametrize('name', SCHEDULES)
def test_every_rate_of_a_config_is_scaled_and_nothing_else(name):
    whole = go_on(*build(config_of(name)), 11)
    config = config_of(name)
    scale_config(config, 0.25)
    found = go_on(*build(config), 11)
    torch.testing.assert_close(found, whole * torch.tensor([0.25, 1.0]))


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('steps', [0, 3, 6])
def test_a_checkpoint_goes_on_as_if_it_had_been_begun_so(name, steps):
    wrapper, schedules = build(config_of(name))
    go_on(wrapper, schedules, steps)
    checkpoint = dict(
        optimizer=copy.deepcopy(wrapper.state_dict()),
        param_schedulers=[copy.deepcopy(one.state_dict()) for one in schedules],
    )
    whole = go_on(wrapper, schedules, 11 - steps)
    scale_checkpoint(checkpoint, 0.25)
    resumed, others = build(config_of(name))
    resumed.load_state_dict(checkpoint['optimizer'])
    for one, state in zip(others, checkpoint['param_schedulers'], strict=True):
        one.load_state_dict(state)
    found = go_on(resumed, others, 11 - steps)
    torch.testing.assert_close(found, whole * torch.tensor([0.25, 1.0]))


def test_a_schedule_may_stand_alone_or_be_none():
    config = config_of('none')
    config.param_scheduler = dict(type='OneCycleLR', eta_max=0.4)
    scale_config(config, 0.5)
    assert config.param_scheduler.eta_max == 0.2
    config.param_scheduler = None
    scale_config(config, 0.5)
    assert config.optim_wrapper.optimizer.lr == 0.05
