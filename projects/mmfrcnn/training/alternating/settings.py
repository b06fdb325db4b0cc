"""What a config says of the steps: their lengths and learning-rate schedules."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from mmfrcnn.errors import UserError
from mmfrcnn.training.alternating.detector import AlternatingFasterRCNN


def schedule_of(settings: dict, cfg: Any) -> list[dict] | None:
    """Return the learning-rate schedule of a step, in iterations of the step."""
    schedule = settings.get('param_scheduler', cfg.get('param_scheduler'))
    if schedule is None:
        return None
    schedule = schedule if isinstance(schedule, list) else [schedule]
    schedule = copy.deepcopy(schedule)
    for one in schedule:
        if not one.get('by_epoch', True):
            one.setdefault('end', settings['max_iters'])
    return schedule


def check_settings(runner: Runner, settings: list[dict]) -> None:
    """Refuse what alternating training cannot do.

    Args:
        runner (Runner): With the model and the hooks.
        settings (list[dict]): Of steps 1 and 2.

    Raises:
        UserError: With the key of the config.
    """
    model = getattr(runner.model, 'module', runner.model)
    if not isinstance(model, AlternatingFasterRCNN):
        raise UserError(
            f"model: AlternatingTrainLoop trains type='AlternatingFasterRCNN', not "
            f'{type(model).__name__}'
        )
    if any(isinstance(hook, EMAHook) for hook in runner.hooks):
        raise UserError(
            'custom_hooks: EMAHook averages weights over all of training, but '
            'alternating training starts some of them anew. Leave it out'
        )
    cfg = runner.cfg
    if not (cfg.get('val_dataloader') or cfg.get('test_dataloader')):
        raise UserError(
            'AlternatingTrainLoop prepares images for proposals as for testing: the '
            'config needs a val_dataloader or a test_dataloader'
        )
    for name, one in zip(('rpn', 'rcnn'), settings, strict=False):
        if set(one) - {'max_iters', 'param_scheduler'} or one.get('max_iters', 0) < 1:
            raise UserError(
                f'train_cfg.{name}: it takes max_iters, 1 or more, and '
                f'param_scheduler; it has {dict(one)}'
            )
        for scheduler in schedule_of(one, cfg) or ():
            by_epoch = scheduler.get('by_epoch', True)
            if by_epoch and not scheduler.get('convert_to_iter_based'):
                raise UserError(
                    f'the schedule {scheduler["type"]} is by epoch, and steps are '
                    'measured in iterations: set by_epoch=False in param_scheduler'
                )
            begin, end = scheduler.get('begin', 0), scheduler.get('end', 0)
            if not by_epoch and begin >= end:
                raise UserError(
                    f'the schedule {scheduler["type"]} begins at iteration {begin} and '
                    f'ends at {end}; steps of train_cfg.{name} have {one["max_iters"]}'
                )
