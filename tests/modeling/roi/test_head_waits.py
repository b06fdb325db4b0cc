"""Masks and cascades make the host wait as rarely for a large batch as for a small."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmfrcnn_benchmark.counts import count_operators
from mmfrcnn_benchmark.fake_device import DEVICE, fake_device

from mmfrcnn.ops.backend import using
from mmfrcnn.structures.image_batch import DataSamples
from mmfrcnn.structures.proposals import Proposals

from .conftest import config_of, random_boxes
from .test_cascade_roi_head import cascade_config

SLOTS = 40
HEADS = {
    'masks': ('BatchedRoIHead', config_of),
    'cascade': ('BatchedCascadeRoIHead', cascade_config),
}


def head_of(kind):
    name, make = HEADS[kind]
    config = make(mask_head=dict())
    config.type = name
    rules = config.train_cfg
    for rule in rules if isinstance(rules, list) else [rules]:
        rule.assigner.type = 'AnchorAssigner'
        rule.sampler.type = 'BalancedSampler'
    for key in ('bbox_roi_extractor', 'mask_roi_extractor'):
        config[key].type = 'PyramidRoIExtractor'
    return MODELS.build(config)


def batch_of(images, samples):
    """Return features, proposals in slots and ground truth of many images."""
    generator = torch.Generator().manual_seed(0)
    features = [
        torch.randn(images, 6, 192 // stride, 256 // stride, generator=generator)
        for stride in (4, 8, 16, 32)
    ]
    boxes = random_boxes(images * SLOTS, (192, 256), generator)
    boxes = boxes.view(images, SLOTS, 4)
    mask = torch.rand(images, SLOTS, generator=generator) < 0.9
    proposals = Proposals(boxes, torch.rand(images, SLOTS), mask)
    return features, proposals, [copy.copy(samples[i % 4]) for i in range(images)]


@pytest.mark.parametrize('kind', HEADS)
def test_training_does_not_wait_and_is_as_many_operators(kind, masked_samples):
    head = head_of(kind).train()
    totals = []
    for images in (2, 8, 16):
        features, proposals, samples = batch_of(images, masked_samples)
        # As the detector brings them over, from the host, before either head.
        samples = DataSamples(samples, torch.device('cpu'), training=True)
        batch = features, proposals, samples
        with using('reference'):
            counted = count_operators(lambda batch=batch: head.loss(*batch))
        print(f'{kind}, {images} images: {counted.total} operators', counted.waits)
        assert not counted.waits
        totals.append(counted.total)
    assert len(set(totals)) == 1


@pytest.mark.parametrize('kind', HEADS)
@torch.no_grad()
def test_mask_heads_run_once_for_the_batch(kind, masked_samples):
    """Per stage, on the detections of all images together."""
    head = head_of(kind).eval()
    runs = []
    heads = head.mask_head if kind == 'cascade' else [head.mask_head]
    for one in heads:
        one.register_forward_pre_hook(lambda _, x: runs.append(len(x[0])))
    results = head.predict(*batch_of(8, masked_samples))
    detections = sum(map(len, results))
    assert runs == [detections] * len(heads)
    assert detections > 100


@pytest.mark.parametrize('kind', HEADS)
def test_training_asks_no_device_for_a_value(kind, masked_samples):
    """On a CUDA device that holds no values: nothing's shape depends on any."""
    head = head_of(kind).train()
    features, slots, samples = batch_of(4, masked_samples)
    with fake_device() as counted:
        head.to(DEVICE)
        proposals = Proposals(
            *(one.to(DEVICE) for one in (slots.boxes, slots.scores, slots.mask))
        )
        features = [level.to(DEVICE) for level in features]
        counted.waits.clear()
        losses = head.loss(features, proposals, samples)
    assert not counted.waits
    assert sum('loss' in name for name in losses) == (9 if kind == 'cascade' else 3)
    assert {loss.device.type for loss in losses.values()} == {'cuda'}
