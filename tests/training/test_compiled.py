"""A compiled detector: no graph breaks, few compilations, the same results.

With dynamo's own backend: it traces as for any other, and runs what it traced.
"""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch._dynamo.utils import counters

from mmfrcnn.training.compiled import compile_detector
from tests.shallow import shorten_resnets

SHAPES = [(2, 64, 96), (2, 96, 64), (3, 128, 96), (4, 64, 128)]


@pytest.fixture(scope='module')
def pair(request):
    init_default_scope('mmdet')
    root = request.config.rootpath
    config = Config.fromfile(root / 'configs/shapes/faster-rcnn_r18_fpn_shapes.py')
    model = config.model
    # Two stages and three levels, as each is traced again for every new kind of shape.
    stages = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))
    model.backbone.update(base_channels=4, **stages)
    model.neck.update(in_channels=[4, 8], out_channels=8, num_outs=3)
    model.rpn_head.in_channels = 8
    model.rpn_head.anchor_generator.strides = [4, 8, 16]
    model.roi_head.bbox_roi_extractor.update(out_channels=8, featmap_strides=[4, 8])
    model.roi_head.bbox_head.update(in_channels=8, fc_out_channels=16)
    for sampler in (model.train_cfg.rpn.sampler, model.train_cfg.rcnn.sampler):
        sampler.seed = 3
    model.test_cfg.rcnn.score_thr = 0.0
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        shorten_resnets(patch, blocks=1)
        plain = MODELS.build(model)
    plain.init_weights()
    torch._dynamo.reset()
    counters.clear()
    return plain, compile_detector(copy.deepcopy(plain), backend='eager')


def batch(images, height, width):
    generator = torch.Generator().manual_seed(height * width)
    limit = torch.tensor([width, height] * 2) / 2
    samples = []
    for image in range(images):
        size = (height, width)
        boxes = torch.rand(image + 1, 4, generator=generator) * limit
        boxes[:, 2:] += boxes[:, :2] + 4
        sample = DetDataSample(
            metainfo=dict(img_shape=size, pad_shape=size, ori_shape=size, img_id=image)
        )
        labels = torch.arange(image + 1) % 6
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    return torch.randn(images, 3, height, width, generator=generator), samples


def test_losses_and_gradients_of_many_shapes(pair):
    for model in pair:
        model.train()
    graphs = []
    for shape in SHAPES:
        found = []
        for model in pair:
            images, samples = batch(*shape)
            losses = model.loss(images, samples)
            model.zero_grad()
            sum(value for key, value in losses.items() if 'loss' in key).backward()
            found.append((losses, [p.grad for p in model.parameters()]))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
        graphs.append(counters['stats']['unique_graphs'])
    assert not counters['graph_break']
    # After two sizes and two batches, one program serves all.
    assert graphs[0] > 0
    assert graphs[-1] == graphs[2]


@torch.no_grad()
def test_detections_of_many_shapes(pair):
    plain, compiled = (model.eval() for model in pair)
    for shape in SHAPES[:3]:
        images, samples = batch(*shape)
        found = compiled.predict(images, copy.deepcopy(samples), rescale=False)
        expected = plain.predict(images, samples, rescale=False)
        for one, other in zip(found, expected, strict=True):
            assert len(other.pred_instances) > 0
            for key in ('bboxes', 'scores', 'labels'):
                torch.testing.assert_close(
                    one.pred_instances[key], other.pred_instances[key]
                )
    assert not counters['graph_break']
