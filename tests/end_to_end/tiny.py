"""A tiny detection problem for the tools: drawn rectangles, and a small model."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmfrcnn.cli import run_command
from tests.tools import REPO

CONFIG = """
_base_ = ['{repo}/configs/_base_/models/faster-rcnn_r50_fpn.py',
          '{repo}/configs/_base_/default_runtime.py']
model = dict(
    backbone=dict(depth=18, base_channels=8, init_cfg=None, frozen_stages=-1),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=32, num_classes=2)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=32)),
        rpn_proposal=dict(nms_pre=100, max_per_img=50),
        rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(
        rpn=dict(nms_pre=100, max_per_img=50),
        rcnn=dict(score_thr=0.0, max_per_img=5)))
metainfo = dict(classes=('box', 'disc'), palette=[(230, 60, 60), (40, 120, 255)])
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 96), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs')]
dataset = dict(
    type='CocoDataset', metainfo=metainfo, data_root='{data}',
    ann_file='train.json', data_prefix=dict(img='images'), pipeline=pipeline)
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(filter_cfg=dict(filter_empty_gt=False), **dataset))
val_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(test_mode=True, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file='{data}/train.json', metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
auto_scale_lr = dict(base_batch_size=16)
randomness = dict(seed=0)
default_hooks = dict(logger=dict(interval=1))
"""


def make_data(folder: Path, num_images: int = 8) -> None:
    """Write images of a rectangle, a disc and, in some, a crowd, as a COCO set."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    (folder / 'images').mkdir(parents=True)
    for image_id in range(1, num_images + 1):
        name = f'{image_id:03d}.png'
        picture = rng.integers(90, 130, (96, 128, 3), dtype=np.uint8)
        images.append({'id': image_id, 'file_name': name, 'height': 96, 'width': 128})
        for category, colour in ((1, (40, 40, 220)), (2, (220, 120, 40))):
            size = int(rng.integers(24, 40))
            x, y = int(rng.integers(0, 128 - size)), int(rng.integers(0, 96 - size))
            if category == 1:
                cv2.rectangle(picture, (x, y), (x + size, y + size), colour, -1)
            else:
                centre = (x + size // 2, y + size // 2)
                cv2.circle(picture, centre, size // 2, colour, -1)
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': image_id,
                    'category_id': category,
                    'bbox': [x, y, size, size],
                    'area': size * size,
                    'iscrowd': int(image_id % 4 == 0 and category == 2),
                }
            )
        cv2.imwrite(str(folder / 'images' / name), picture)
    categories = [{'id': 1, 'name': 'box'}, {'id': 2, 'name': 'disc'}]
    contents = {'images': images, 'annotations': annotations, 'categories': categories}
    (folder / 'train.json').write_text(json.dumps(contents))


def make_config(folder: Path) -> Path:
    """Write the data and the config; return the path of the config."""
    make_data(folder / 'data')
    config = folder / 'tiny.py'
    config.write_text(CONFIG.format(repo=REPO.as_posix(), data=folder / 'data'))
    return config


def run_here(name: str, *args: object) -> int:
    """Run ``tools/NAME.py`` in this process, which costs no start; return its code."""
    spec = importlib.util.spec_from_file_location('tool', REPO / f'tools/{name}.py')
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [name, *map(str, args)])
        arguments = tool.parse_args()
    return run_command(name, arguments)


def assert_user_error(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check for one message with these words, exit code 2 and no traceback."""
    assert result.returncode == 2, result.stderr
    assert 'Traceback' not in result.stdout + result.stderr
    message = [x for x in result.stderr.splitlines() if x.startswith('error: ')]
    assert len(message) == 1, result.stderr
    for word in words:
        assert word in message[0]
