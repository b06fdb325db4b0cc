"""The learning rate of a run and all that is meant in its terms, scaled together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

RATES = ('eta_max', 'eta_min', 'min_value')
"""Settings of a schedule that are learning rates, and not factors of one."""

OF_GROUPS = ('lr', 'initial_lr', 'max_lr', 'min_lr')
"""What an optimizer's state has of each group; schedules write all but the first."""

OF_SCHEDULES = (*RATES, 'base_values', '_last_value', 'min_values')
"""What a schedule's state has."""


def scale_config(config: Config, share: float) -> None:
    """Scale the learning rate of a config, and of its schedules, in place."""
    config.optim_wrapper.optimizer.lr *= share
    for schedule in _of_rates(config.get('param_scheduler')):
        _scale(schedule, RATES, share)


def scale_checkpoint(checkpoint: Mapping[str, Any], share: float) -> None:
    """Scale the rates with which a checkpoint's training would go on, in place."""
    optimizer = checkpoint['optimizer']
    base = optimizer.get('base_param_settings') or {}  # mmengine's, for the log
    for group in [*optimizer.get('param_groups', []), base]:
        _scale(group, OF_GROUPS, share)
    for schedule in _of_rates(checkpoint.get('param_schedulers')):
        _scale(schedule, OF_SCHEDULES, share)


def _of_rates(schedules: Any) -> Iterator[Any]:
    """Yield the schedules of the learning rate: others are of momentum and the like."""
    for one in schedules if isinstance(schedules, list | tuple) else [schedules or {}]:
        momentum = 'Momentum' in str(one.get('type', ''))
        if one.get('param_name', 'lr') == 'lr' and not momentum:
            yield one


def _scale(values: Any, names: tuple[str, ...], share: float) -> None:
    for name in names:
        value = values.get(name)
        if isinstance(value, list):
            values[name] = [one * share for one in value]
        elif value:
            values[name] = value * share
