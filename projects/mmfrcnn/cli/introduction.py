"""What is about to be trained, in a few lines."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from mmfrcnn.training.alternating.loop import AlternatingTrainLoop


def introduction(runner: Runner) -> str:
    """Describe a training that begins: model, device, length, rate, schedule, folder.

    Args:
        runner (Runner): With model, loop and optimizer built.
    """
    loader = runner.train_dataloader
    batch = loader.batch_size or loader.batch_sampler.batch_size
    total = batch * runner.world_size
    device = next(runner.model.parameters()).device
    processes = f'{runner.world_size} process{"es" * (runner.world_size > 1)}'
    lines = [
        f'Training on {device.type} ({processes}): {len(loader.dataset)} images, '
        f'{total} an iteration, {len(loader)} iterations an epoch, '
        f'{runner.max_iters} in all',
        f'  model    {_model(getattr(runner.model, "module", runner.model))}',
        f'  device   {_device(device)}, {_precision(runner.optim_wrapper)}',
        f'  rate     {_rate(runner, total)}',
        *(f'  schedule {line}' for line in _schedules(runner)),
        f'  tested   {_validation(runner)}',
        f'  folder   {runner.work_dir}; the whole log is {runner.logger.log_file}',
    ]
    if runner.iter:
        lines.append(f'  resumed  after iteration {runner.iter}')
    return '\n'.join(lines)


def _model(model: nn.Module) -> str:
    """Name a detector and its parts, and count its weights."""
    parts = [_part(getattr(model, name, None)) for name in ('backbone', 'neck')]
    named = ', '.join(part for part in parts if part)
    sizes = {True: 0, False: 0}
    for parameter in model.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    return (
        f'{type(model).__name__}{f" ({named})" * bool(named)}: '
        f'{sizes[True]:,} weights are trained, {sizes[False]:,} frozen'
    )


def _part(part: nn.Module | None) -> str:
    depth = getattr(part, 'depth', '')
    return f'{type(part).__name__}{f"-{depth}" * bool(depth)}' if part else ''


def _device(device: torch.device) -> str:
    if device.type != 'cuda':
        threads = torch.get_num_threads()
        return f'{device.type}, {threads} thread{"s" * (threads > 1)}'
    properties = torch.cuda.get_device_properties(device)
    return f'{properties.name}, {properties.total_memory / 2**30:.0f} GiB'


def _precision(wrapper: Any) -> str:
    kind = type(wrapper).__name__
    known = {'Bfloat16OptimWrapper': 'bfloat16', 'AmpOptimWrapper': 'float16'}
    return known.get(kind, 'float32')


def _rate(runner: Runner, batch: int) -> str:
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    if not isinstance(runner.optim_wrapper, OptimWrapper) or optimizer is None:
        return 'of several optimizers'
    group = optimizer.param_groups[0]
    rate = group.get('initial_lr', group['lr'])
    fit = _fit(runner.cfg.get('auto_scale_lr'), batch)
    return f'{rate:g} ({type(optimizer).__name__}){fit}'


def _fit(auto_scale: dict | None, batch: int) -> str:
    """Say whether the learning rate fits the batch size."""
    base = (auto_scale or {}).get('base_batch_size')
    if not base:
        return ''
    if auto_scale and auto_scale.get('enable'):
        return f', scaled from {base} images an iteration to {batch}'
    if base == batch:
        return f', made for {base} images an iteration'
    return (
        f', made for {base} images an iteration and not scaled '
        f'(--auto-scale-lr would multiply it by {batch / base:g})'
    )


def _schedules(runner: Runner) -> list[str]:
    """Put the schedule of the learning rate into words; of each step if there are."""
    loop = runner.train_loop
    if isinstance(loop, AlternatingTrainLoop):
        return [
            f'{name}, {length} iterations: {in_words(schedule)}'
            for name, (schedule, length) in loop.schedules.items()
        ]
    return [in_words(runner.cfg.get('param_scheduler'))]


def in_words(schedule: Any) -> str:
    """Put a ``param_scheduler`` into words.

    >>> in_words([dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=500),
    ...           dict(type='MultiStepLR', milestones=[8, 11])])
    'linear from 0.1 to 1 of it, iterations 0 to 500; times 0.1 after epochs 8, 11'
    >>> in_words(None)
    'constant'
    """
    schedulers = schedule if isinstance(schedule, list | tuple) else [schedule]
    return '; '.join(_words(one) for one in schedulers if one) or ('constant')


def _words(one: dict) -> str:
    unit = 'epochs' if one.get('by_epoch', True) else 'iterations'
    begin, end = one.get('begin', 0), one.get('end')
    span = f'{unit} {begin} to {"the end" if end is None else end}'
    kind = str(one['type']).rpartition('.')[2]
    if kind == 'LinearLR':
        first, last = one.get('start_factor', 1 / 3), one.get('end_factor', 1)
        return f'linear from {first:.3g} to {last:g} of it, {span}'
    if kind == 'MultiStepLR':
        places = ', '.join(map(str, one['milestones']))
        return f'times {one.get("gamma", 0.1):g} after {unit} {places}'
    if kind == 'CosineAnnealingLR':
        lowest = one.get('eta_min', 0)
        ratio = one.get('eta_min_ratio')
        low = f'{lowest:g}' if ratio is None else f'{ratio:g} of it'
        return f'cosine to {low}, {span}'
    return f'{kind}, {span}'


def _validation(runner: Runner) -> str:
    if runner.val_loop is None:
        return 'never: the config has no val_dataloader'
    loop = runner.train_loop
    count = len(runner.val_dataloader.dataset)
    if isinstance(loop, AlternatingTrainLoop):
        return f'at the end, on {count} images'
    unit = 'epochs' if isinstance(loop, EpochBasedTrainLoop) else 'iterations'
    return f'every {loop.val_interval} {unit}, on {count} images'
