"""A recorded step trains as an unrecorded one; without a GPU a trace is the record."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures.mask import PolygonMasks

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.sampler import balanced_samplers
from mmfrcnn.ops.backend import using
from mmfrcnn.training.cuda_graphs import CudaGraphHook, RecordedLoss
from mmfrcnn.training.recording import CudaGraphs

from .recorded import BATCHES, batch, build, several_times, small_config, trace


@pytest.fixture
def config(request):
    return small_config(getattr(request, 'param', 'faster-rcnn_r50_fpn'))


def train(detector, batches, precision=None):
    """Train a few steps; return the losses of each."""
    optimizer = torch.optim.SGD(detector.parameters(), 0.002, 0.9)
    torch.manual_seed(1)
    history = []
    for seed, sizes in enumerate(batches):
        data = batch(detector, sizes, seed)
        with torch.autocast('cpu', precision, enabled=precision is not None):
            losses = detector(**data, mode='loss')
        total, _ = detector.parse_losses(losses)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    return history


@pytest.mark.parametrize(
    'config, precision, batches, kinds',
    [
        ('faster-rcnn_r50_fpn', None, BATCHES, 3),
        ('faster-rcnn_r50_fpn', torch.bfloat16, BATCHES[1:4], 2),
        ('cascade-rcnn_r50_fpn', None, BATCHES[1:3], 1),
        ('mask-rcnn_r50_fpn', None, BATCHES[1:3], 1),
    ],
    ids=['fp32', 'bf16', 'cascade', 'mask'],
    indirect=['config'],
)
def test_trains_as_without(config, precision, batches, kinds):
    said = []
    plain = build(config)
    recorded = copy.deepcopy(plain)
    with using('reference'):
        expected = train(plain, batches, precision)
        recorded.loss = RecordedLoss(recorded, trace, said.append)
        found = train(recorded, batches, precision)
    assert len(said) == len(recorded.loss.recorder.steps) == kinds
    slots = 8 if batches[0][0][2] <= 8 else 16
    line = f'Recorded step 1: 2 images of 64x96, {slots} ground-truth slots.'
    assert said[0] == line
    # A weight is rounded to bfloat16 for each use here, and there once for all.
    near = dict(rel=1e-5) if precision is None else dict(rel=1e-2, abs=1e-3)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, **near)
    near = {} if precision is None else dict(rtol=1e-2, atol=1e-3)
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(recorded.state_dict()[name], weight, **near)
    draws = [[one.draws for one in balanced_samplers(m)] for m in (plain, recorded)]
    assert draws[0] == draws[1] and set(draws[0]) == {len(batches)}


def test_statistics_of_norms_and_dice_are_those_of_one_run(config):
    """What is run several times to be recorded counts once."""
    config.backbone.norm_eval = False
    plain = build(config)
    recorded = copy.deepcopy(plain)

    with using('reference'):
        recorded.loss = RecordedLoss(recorded, several_times, lambda message: None)
        for detector in (plain, recorded):
            torch.manual_seed(3)
            detector(**batch(detector, BATCHES[1], 0), mode='loss')
            detector.dice = torch.rand(1)
    assert plain.dice == recorded.dice
    buffers = dict(plain.named_buffers())
    assert any(b.any() for name, b in buffers.items() if 'running_mean' in name)
    for name, buffer in recorded.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], msg=name)


def test_an_image_without_anchors_is_refused_at_each_replay(config):
    """`allowed_border` is looked at on the host, which replays do not ask."""
    config.train_cfg.rpn.allowed_border = 0
    detector = build(config)
    with using('reference'):
        detector.loss = RecordedLoss(detector, several_times, lambda message: None)
        detector(**batch(detector, [(64, 96, 2), (64, 90, 1)], 0), mode='loss')
        data = batch(detector, [(64, 96, 2), (64, 6, 1)], 1)
        assert len(detector.loss.recorder.steps) == 1
        with pytest.raises(UserError, match='no anchor lies inside it'):
            detector(**data, mode='loss')


@pytest.mark.parametrize(
    'place, kind, words',
    [
        ('rpn.assigner', 'MaxIoUAssigner', 'Use AnchorAssigner'),
        ('rpn.sampler', 'RandomSampler', 'Use BalancedSampler'),
        ('rcnn.assigner', 'MaxIoUAssigner', 'Use AnchorAssigner'),
        ('rcnn.sampler', 'RandomSampler', 'Use BalancedSampler'),
    ],
)
def test_parts_that_wait_are_refused(config, place, kind, words):
    head, key = place.split('.')
    config.train_cfg[head][key].type = kind
    with pytest.raises(UserError, match=words):
        RecordedLoss(build(config), trace, print)


def test_other_detectors_and_batch_norm_in_the_head_are_refused(config):
    detector = build(config)
    detector.roi_head.bbox_head.norm = torch.nn.BatchNorm1d(4)
    with pytest.raises(UserError, match='batch norm in the RoI head'):
        RecordedLoss(detector, trace, print)
    config.type = 'FasterRCNN'
    with pytest.raises(UserError, match='model is a FasterRCNN'):
        RecordedLoss(build(config), trace, print)


@pytest.mark.parametrize('config', ['mask-rcnn_r50_fpn'], indirect=True)
def test_outlines_are_refused(config):
    detector = build(config)
    data = batch(detector, BATCHES[1], 0)
    for sample in data['data_samples']:
        count = len(sample.gt_instances)
        outlines = [[np.array([1.0, 1, 9, 1, 9, 9])]] * count
        sample.gt_instances.masks = PolygonMasks(outlines, 64, 96)
    detector.loss = RecordedLoss(detector, trace, print)
    with pytest.raises(UserError, match='poly2mask=True'):
        detector(**data, mode='loss')


def test_what_cannot_be_recorded_is_said(config):
    runner = SimpleNamespace(
        model=build(config), optim_wrapper=SimpleNamespace(_accumulative_counts=1)
    )
    with pytest.raises(UserError, match='--cuda-graphs needs a GPU'):
        CudaGraphHook().before_train(runner)
    runner.optim_wrapper._accumulative_counts = 2
    with pytest.raises(UserError, match='accumulative_counts=1'):
        CudaGraphHook().before_train(runner)


def test_a_capture_that_fails_is_one_message(config, monkeypatch):
    def fail(module, given, **options):
        raise RuntimeError('operation not permitted when stream is capturing\nAt: ...')

    monkeypatch.setattr(torch.cuda, 'graph_pool_handle', lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, 'make_graphed_callables', fail)
    with pytest.raises(
        UserError, match=r'cannot be recorded \(operation not permitted'
    ):
        CudaGraphs()(build(config), ())
