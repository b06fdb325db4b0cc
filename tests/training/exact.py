"""Trainings with everything that is random, and what two of them differ in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from tests.end_to_end.tiny import make_config

ITERATIONS = 12

# The version has the commit in it of the folder that a run is started in.
OWN = (
    'best_ckpt',
    'cfg',
    'eta',
    'experiment_name',
    'last_ckpt',
    'mmengine_version',
    'time',
)

RANDOM = """
_base_ = 'tiny.py'
load = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True)]
after = [
    dict(type='RandomResize', scale=(128, 96), ratio_range=(0.7, 1.3), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs')]
train_dataloader = dict(
    batch_size=2,
    num_workers={workers},
    persistent_workers={workers} > 0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=load + after))
custom_hooks = [dict(type='EMAHook')]
optim_wrapper = dict(accumulative_counts=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=4),
    dict(type='StepLR', step_size=1, gamma=0.9, by_epoch=True)]
default_hooks = dict(
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=-1),
    logger=dict(interval=5))
randomness = dict(seed={seed})
"""
EPOCHS = """
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=2)
default_hooks['checkpoint']['save_best'] = 'coco/bbox_mAP'
"""
BY_ITERATION = """
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=12, val_interval=5)
log_processor = dict(by_epoch=False)
"""
ALTERNATING = """
model = dict(type='AlternatingFasterRCNN')
custom_hooks = []
optim_wrapper = {}
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2)]
train_cfg = dict(
    _delete_=True, type='AlternatingTrainLoop',
    rpn=dict(max_iters=3), rcnn=dict(max_iters=3))
log_processor = dict(type='StepLogProcessor')
"""
MOSAIC = """
single = dict(
    type='CocoDataset', metainfo=_base_.metainfo, data_root='DATA',
    ann_file='train.json', data_prefix=dict(img='images'), pipeline=load,
    filter_cfg=dict(filter_empty_gt=False))
train_dataloader['dataset'] = dict(
    _delete_=True, type='MultiImageMixDataset', dataset=single,
    pipeline=[dict(type='Mosaic', img_scale=(96, 96)), *after])
"""


def write_config(
    folder: Path, loop: str, *more: str, workers: int = 0, seed: int | None = 0
) -> Path:
    """Write a config that augments, averages, accumulates and schedules."""
    make_config(folder)
    text = RANDOM.format(workers=workers, seed=seed) + ''.join((loop, *more))
    path = folder / 'random.py'
    path.write_text(text.replace('DATA', (folder / 'data').as_posix()))
    return path


def load(path: Path) -> dict[str, Any]:
    """Return a checkpoint without what any two runs differ in: times and folders."""
    content = torch.load(path, weights_only=True)
    for part in (content['meta'], content['message_hub']['runtime_info']):
        for key in OWN:
            part.pop(key, None)
    return content


def differences(one: Any, other: Any, where: str = '') -> Iterator[str]:
    """Yield where two checkpoints are not equal, to the bit."""
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and torch.equal(one, other)
    elif isinstance(one, HistoryBuffer):
        # How long an iteration took is no result.
        same = where.endswith('time') or all(map(np.array_equal, one.data, other.data))
    elif isinstance(one, dict) and isinstance(other, dict):
        same = one.keys() == other.keys()
        for key in one.keys() & other.keys():
            yield from differences(one[key], other[key], f'{where}/{key}')
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        same = len(one) == len(other)
        for number, pair in enumerate(zip(one, other, strict=False)):
            yield from differences(*pair, f'{where}/{number}')
    else:
        same = one == other
    if not same:
        yield where


def what_differs(one: Path, other: Path) -> list[str]:
    """Compare the last checkpoints and the tables of two work folders."""
    name = f'iter_{ITERATIONS}.pth'
    found = list(differences(load(one / name), load(other / name)))
    tables = [(folder / 'results.csv').read_text() for folder in (one, other)]
    return found + ['results.csv'] * (tables[0] != tables[1])
