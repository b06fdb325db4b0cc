"""mmdet's own configs build, train a step and predict on the served ops."""

from __future__ import annotations

from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

CONFIGS = Path(mmdet.__file__).parent / '.mim/configs'


MODELS_TO_TRY = {
    'faster': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'retina': 'retinanet/retinanet_r50_fpn_1x_coco.py',
    'dcn-v1': 'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py',
    'dcn-v2': 'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py',
    'soft-nms': 'faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco.py',
}


@pytest.fixture(autouse=True)
def mmdets_registry():
    init_default_scope('mmdet')


def narrow(cfg, channels=16):
    """Give every head the small neck's width."""
    if isinstance(cfg, dict):
        for key, value in cfg.items():
            if value == 256 and key in ('in_channels', 'feat_channels', 'out_channels'):
                cfg[key] = channels
            narrow(value, channels)
    elif isinstance(cfg, list):
        for value in cfg:
            narrow(value, channels)


def build(file):
    """Build a stock config with a small backbone, 16 channels and no downloads."""
    cfg = Config.fromfile(CONFIGS / file).model
    cfg.backbone.init_cfg = None
    if 'dcn' in cfg.backbone:  # deformable convolutions want bottlenecks
        cfg.backbone.update(base_channels=16)
        cfg.neck.in_channels = [64, 128, 256, 512]
    else:
        cfg.backbone.depth = 18
        cfg.neck.in_channels = [64, 128, 256, 512]
    narrow(cfg)
    # Random weights are sure of nothing: without this there is nothing to suppress.
    cfg.test_cfg.get('rcnn', cfg.test_cfg).score_thr = 0.0
    if 'rpn' in cfg.test_cfg:
        cfg.test_cfg.rpn.max_per_img = 30
    torch.manual_seed(0)
    return MODELS.build(cfg)


@pytest.mark.skipif(not CONFIGS.exists(), reason='this mmdet ships no configs')
@pytest.mark.parametrize('name', MODELS_TO_TRY)
def test_builds_trains_and_predicts(name):
    model = build(MODELS_TO_TRY[name])
    inputs = demo_mm_inputs(
        2, [[3, 96, 128], [3, 112, 96]], with_mask=name == 'mask', use_box_type=True
    )
    model.train()
    data = model.data_preprocessor(inputs, training=True)
    loss, logged = model.parse_losses(model(**data, mode='loss'))
    assert loss.isfinite()
    assert all(value.isfinite() for value in logged.values())
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert sum(g is not None and bool(g.any()) for g in gradients) > len(gradients) / 2
    assert all(g.isfinite().all() for g in gradients if g is not None)

    model.eval()
    with torch.no_grad():
        results = model(
            **model.data_preprocessor(inputs, training=False), mode='predict'
        )
    assert len(results) == 2
    for sample in results:
        found = sample.pred_instances
        assert found.bboxes.shape == (len(found), 4)
        assert 0 < len(found) <= 100
        assert found.bboxes.isfinite().all()
        assert ('masks' in found) == (name == 'mask')


@pytest.mark.skipif(not CONFIGS.exists(), reason='this mmdet ships no configs')
@pytest.mark.parametrize('name', ['dcn-v1', 'dcn-v2'])
def test_the_deformable_layers_learn_their_offsets(name):
    model = build(MODELS_TO_TRY[name])
    inputs = demo_mm_inputs(1, [[3, 96, 96]], use_box_type=True)
    data = model.data_preprocessor(inputs, training=True)
    model.parse_losses(model(**data, mode='loss'))[0].backward()
    offsets = [p for n, p in model.named_parameters() if 'conv_offset.weight' in n]
    assert len(offsets) == 13
    assert all(parameter.grad.any() for parameter in offsets)


@pytest.mark.skipif(not CONFIGS.exists(), reason='this mmdet ships no configs')
@pytest.mark.parametrize('name', ['mask', 'dcn-v2'])
def test_mixed_precision(name):
    model = build(MODELS_TO_TRY[name])
    inputs = demo_mm_inputs(
        1, [[3, 96, 96]], with_mask=name == 'mask', use_box_type=True
    )
    data = model.data_preprocessor(inputs, training=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert loss.isfinite()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)
