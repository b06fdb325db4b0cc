"""A run's folder: a tiny model with drawn weights, and images beside it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from tests.end_to_end.tiny import make_config

SIZES = ((128, 96), (60, 90), (200, 40), (97, 131), (128, 96), (33, 34))
"""(width, height) of the images."""


def build(config: Config) -> torch.nn.Module:
    """Build a model with drawn weights, whose scores are far apart."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = MODELS.build(config.model)
    for name, weight in model.named_parameters():
        if 'fc_cls.weight' in name or 'rpn_cls.weight' in name:
            weight.data.mul_(40)
    return model


def save(path: Path, config: Config, **meta: object) -> None:
    """Save a checkpoint of a config's model."""
    stored = {
        'cfg': config.pretty_text,
        'dataset_meta': config.metainfo.to_dict(),
        **meta,
    }
    torch.save({'state_dict': build(config).state_dict(), 'meta': stored}, path)


def make_run(folder: Path) -> Path:
    """Write a run with one checkpoint, and images of several sizes beside it."""
    run, images = folder / 'run', folder / 'images'
    run.mkdir()
    images.mkdir()
    save(run / 'epoch_1.pth', Config.fromfile(make_config(folder)))
    (run / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')
    random = np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        small = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(images / f'{number}.png'), picture)
    return run
