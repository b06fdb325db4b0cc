"""The shipped Mask and Cascade R-CNN against mmdet's with equal weights and samples."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from .conftest import ROOT, STOCK, shrink

NAMES = pytest.mark.parametrize(
    'name', ['mask-rcnn', 'cascade-rcnn', 'cascade-mask-rcnn']
)


def configs_of(name):
    """Return the model configs, ours and mmdet's."""
    folders = ROOT / 'configs/_base_/models', STOCK
    return [Config.fromfile(folder / f'{name}_r50_fpn.py').model for folder in folders]


@pytest.fixture
def pair(name, build):
    """Return (our detector, mmdet's) with the weights of a checkpoint of mmdet's."""
    ours, theirs = (build(shrink(config)) for config in configs_of(name))
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()), strict=True)
    return ours, theirs


@NAMES
def test_checkpoints_of_mmdet_load_by_name(name):
    """The full-size detectors have the same parameters and buffers."""
    states = []
    for config in configs_of(name):
        config.backbone.init_cfg = None
        states.append(MODELS.build(config).state_dict())
    ours, theirs = states
    assert list(ours) == list(theirs)
    assert all(ours[key].shape == theirs[key].shape for key in ours)
    assert any(key.startswith('roi_head.bbox_head.2') for key in ours) == (
        'cas' in name
    )
    assert any(key.startswith('roi_head.mask_head') for key in ours) == ('mask' in name)


@NAMES
def test_losses(name, pair, train_step, fabricated, first_ones):
    batch = fabricated(masks=True)
    found, expected = (train_step(model, batch) for model in pair)
    assert set(found) == set(expected)
    for key, loss in found.items():
        wanted = expected[key].view(loss.shape)
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-6, msg=key)
        assert 'loss' not in key or loss > 0
    others = dict(pair[1].named_parameters())
    for key, parameter in pair[0].named_parameters():
        wanted = others[key].grad
        scale = wanted.abs().max().clamp(min=1e-3)
        assert (parameter.grad - wanted).abs().max() < 1e-3 * scale, key


@NAMES
def test_detections(name, pair, predict, fabricated):
    batch = fabricated()
    found, expected = (predict(model, batch) for model in pair)
    for mine, other in zip(found, expected, strict=True):
        assert len(mine) == len(other) > 20
        assert torch.equal(mine.labels, other.labels)
        torch.testing.assert_close(mine.scores, other.scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine.bboxes, other.bboxes, rtol=1e-4, atol=1e-2)
        if 'mask' in name:
            assert mine.masks.shape == other.masks.shape
            assert (mine.masks != other.masks).sum() <= 1e-4 * mine.masks.numel()
