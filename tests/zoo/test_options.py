"""The blocks of docs/options.md: each builds, takes a training step and predicts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EarlyStoppingHook, EMAHook
from mmengine.runner import Runner

from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.cli.config import load_config
from mmfrcnn.cli.test import _augment
from mmfrcnn.cli.train import TrainingReport

from . import small

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / 'configs/faster_rcnn/faster-rcnn_r18_fpn_1x_coco.py'
PAGE = (ROOT / 'docs/options.md').read_text('utf-8')
BLOCKS = dict(
    re.findall(r'^### ([^\n]+)\n(?:(?!###).)*?^```python\n(.*?)^```', PAGE, re.M | re.S)
)


@pytest.fixture
def config_of(tmp_path):
    """Return a function: the config of a block, small."""

    def make(title: str) -> Config:
        path = tmp_path / 'option.py'
        path.write_text(f"_base_ = '{BASE.as_posix()}'\n{BLOCKS[title]}")
        config = load_config(str(path))
        check_registered(config)
        config.work_dir = str(tmp_path / 'run')
        return small.narrow(small.shrink(config))

    return make


def test_every_heading_has_its_block():
    assert len(BLOCKS) == PAGE.count('\n### ') == PAGE.count('```python')


@pytest.mark.parametrize('title', BLOCKS)
def test_an_option_trains_and_predicts(title, config_of, drawn):
    config = config_of(title)
    detector = small.build(config.model)
    items = small.load(config, 'train', drawn)
    before = [p.detach().clone() for p in detector.parameters()]
    losses = small.train_step(detector, config, items)
    assert all(torch.isfinite(loss).all() for loss in losses.values())
    assert any(
        not torch.equal(old, new)
        for old, new in zip(before, detector.parameters(), strict=True)
    )
    results = small.predict(detector, small.load(config, 'test', drawn))
    for result in results:
        assert len(result.pred_instances) > 0
        assert torch.isfinite(result.pred_instances.bboxes).all()


def runner_of(config: Config, pictures: Path) -> Runner:
    """Return a Runner for an epoch of two iterations of one picture."""
    small.on_pictures(config, pictures)
    for split in small.SPLITS:
        loader = config[f'{split}_dataloader']
        if loader:
            loader.update(num_workers=0, persistent_workers=False)
            loader.dataset.indices = 2
            annotations = f'{pictures}/{loader.dataset.ann_file}'
        if loader and split != 'train':
            config[f'{split}_evaluator'].ann_file = annotations
    config.train_dataloader.batch_size = 1
    config.train_cfg.max_epochs = 1
    config.default_hooks.checkpoint.interval = -1
    config.experiment_name = Path(config.work_dir).parent.name
    return Runner.from_cfg(config)


def test_hooks_run(config_of, drawn):
    config = config_of('Averaged weights (EMA)')
    config.custom_hooks += config_of('Early stopping').custom_hooks[1:]
    runner = runner_of(config, drawn)
    runner.train()
    kinds = [type(hook) for hook in runner.hooks]
    assert EMAHook in kinds and EarlyStoppingHook in kinds
    assert runner.iter == 2
    assert 'val/coco/bbox_mAP' in runner.message_hub.log_scalars


@pytest.mark.parametrize('scaled', [True, False])
def test_the_log_says_how_the_rate_is_scaled(scaled, config_of, drawn):
    config = config_of('The learning rate as written')
    if scaled:
        config.auto_scale_lr = Config.fromfile(BASE).auto_scale_lr
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    runner = runner_of(config, drawn)
    lines: list[str] = []
    runner.logger.info = lines.append
    runner.register_hook(TrainingReport(), priority='VERY_LOW')
    runner.train()
    report = next(line for line in lines if 'Training on' in line)
    if scaled:
        assert '0.00125 (SGD), scaled from 16 images an iteration to 1' in report
    else:
        assert '0.02 (SGD), made for 16 images an iteration' in report


def test_augmented_at_test_time(config_of, drawn):
    """Three sizes, flipped and not, go through the detector and are merged."""
    config = config_of('Test-time augmentation')
    _augment(config)
    runner = runner_of(config, drawn)
    seen = []
    runner.model.module.register_forward_pre_hook(lambda *_: seen.append(1))
    figures = runner.test()
    assert len(seen) == 2 * 3 * 2
    assert 'coco/bbox_mAP' in figures
