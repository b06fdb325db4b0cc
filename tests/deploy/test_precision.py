"""Half precision rounds what layers multiply, and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn

from mmfrcnn.deploy.precision import DTYPES, halve_precision
from mmfrcnn.deploy.prepare import prepare_for_inference


class Plain(BaseDetector):
    """A detector of two layers and a sum that bfloat16 would swallow."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(4, 2)

    def loss(self, *_):
        raise NotImplementedError

    _forward = extract_feat = loss

    def predict(self, inputs, samples, **_):
        features = self.conv(inputs)
        outputs = self.linear(features.mean((2, 3)))
        self.seen = features.dtype, outputs.dtype
        positions = torch.full((len(inputs), 2), 1000.0) + 0.125
        return [
            DetDataSample(
                pred_instances=InstanceData(scores=out.float(), positions=position)
            )
            for out, position in zip(outputs, positions, strict=True)
        ]


@pytest.fixture
def model():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    return Plain().eval()


@torch.no_grad()
def test_layers_multiply_in_half_precision_and_boxes_do_not(model):
    images = torch.randn(2, 3, 16, 16)
    exact = model(images, None, 'predict')
    assert model.seen == (torch.float32, torch.float32)
    half = halve_precision(copy.deepcopy(model), torch.bfloat16)
    found = half(images, None, 'predict')
    assert half.seen == (torch.bfloat16, torch.bfloat16)
    for one, other in zip(found, exact, strict=True):
        scores = one.pred_instances.scores
        assert not torch.equal(scores, other.pred_instances.scores)
        torch.testing.assert_close(
            scores, other.pred_instances.scores, atol=0.02, rtol=0.02
        )
        assert one.pred_instances.positions.tolist() == [1000.125] * 2


@torch.no_grad()
def test_a_wrapper_calls_the_same_detector(model):
    wrapper = nn.Sequential()
    wrapper.add_module('module', halve_precision(model, torch.bfloat16))
    wrapper.module(torch.randn(1, 3, 8, 8), None, 'predict')
    assert model.seen == (torch.bfloat16, torch.bfloat16)


@pytest.mark.parametrize('name', DTYPES)
def test_prepared_in_the_precision_asked_for(model, name):
    prepared = prepare_for_inference(model, precision=name)
    assert {p.dtype for p in prepared.parameters()} == {DTYPES[name]}
