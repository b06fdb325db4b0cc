"""Sizes of images that differ between training and testing are said before."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmfrcnn.cli.checking.scales import scale_warnings

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


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
    assert list(scale_warnings(Config.fromfile(path))) == []
