"""A model rearranged for inference gives what it gave before."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from mmcv.cnn import ConvModule
from mmdet.registry import HOOKS, MODELS
from mmengine.registry import init_default_scope
from torch import nn

from mmfrcnn.deploy.fold import fold_batch_norms
from mmfrcnn.deploy.prepare import prepare_for_inference
from mmfrcnn.ops.winograd import WinogradConv2d


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope('mmdet')


def lived_in(model, seed=0):
    """Give norms the statistics and weights of a trained model."""
    generator = torch.Generator().manual_seed(seed)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2, generator=generator)
            norm.running_var.uniform_(0.5, 2.0, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
            norm.bias.data.normal_(0, 0.2, generator=generator)
    model.eval()
    return model


def norms(model):
    return sum(isinstance(one, nn.BatchNorm2d) for one in model.modules())


BACKBONES = {
    'resnet-18': dict(type='ResNet', depth=18, base_channels=8),
    'resnet-50': dict(type='ResNet', depth=50, base_channels=8),
    'resnet-50-caffe': dict(type='ResNet', depth=50, base_channels=8, style='caffe'),
    'resnet-v1d': dict(type='ResNetV1d', depth=50, stem_channels=8, base_channels=8),
    'resnext': dict(type='ResNeXt', depth=50, base_channels=8, groups=4, base_width=4),
    'mobilenet_v2': dict(
        type='TorchvisionBackbone',
        name='mobilenet_v2',
        out_nodes=['features.3', 'features.6'],
    ),
    'resnet18 of torchvision': dict(
        type='TorchvisionBackbone', name='resnet18', out_nodes=['layer1', 'layer4']
    ),
}


@pytest.mark.parametrize('name', BACKBONES)
@torch.no_grad()
def test_backbones(name):
    torch.manual_seed(0)
    model = lived_in(MODELS.build(BACKBONES[name])).double()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    before = model(images)
    found = norms(model)
    # The branch of torchvision's network that is not asked for is not traced either.
    assert fold_batch_norms(model) >= found - norms(model) > 0.9 * found
    for one, other in zip(model(images), before, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * other.std())


@torch.no_grad()
def test_modules_of_convolution_norm_and_activation():
    torch.manual_seed(0)
    model = nn.Sequential(
        ConvModule(3, 8, 3, norm_cfg=dict(type='BN')),
        ConvModule(8, 8, 3, norm_cfg=dict(type='BN'), order=('norm', 'conv', 'act')),
        ConvModule(8, 8, 3, norm_cfg=dict(type='GN', num_groups=2)),
        nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8),
    )
    model = lived_in(model)
    images = torch.randn(1, 3, 16, 16)
    before = model(images)
    assert fold_batch_norms(model) == 2
    torch.testing.assert_close(model(images), before, rtol=1e-5, atol=1e-5)


class TwoReaders(nn.Module):
    """A convolution whose result is read past its norm; nothing says so but forward."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


@torch.no_grad()
def test_what_is_not_certain_is_left_alone():
    model = lived_in(TwoReaders())
    assert fold_batch_norms(model) == 0
    training = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).train()
    assert fold_batch_norms(training) == 0


@torch.no_grad()
def test_a_whole_model():
    torch.manual_seed(0)
    model = nn.Sequential(
        MODELS.build(dict(type='ResNet', depth=18, out_indices=(1,))),
        MODELS.build(dict(type='FPN', in_channels=[128], out_channels=128, num_outs=2)),
    )
    model = lived_in(model)
    images = torch.randn(2, 3, 70, 90)
    before = model(images)
    prepared = prepare_for_inference(copy.deepcopy(model))
    kinds = [type(one) for one in prepared.modules()]
    assert WinogradConv2d in kinds and nn.BatchNorm2d not in kinds
    for one, other in zip(prepared(images), before, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * other.std())


def test_the_hook_tests_a_copy():
    model = lived_in(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))
    before = copy.deepcopy(model.state_dict())
    runner = SimpleNamespace(model=model)
    hook = HOOKS.build(dict(type='FastInferenceHook'))
    hook.before_test_epoch(runner)
    assert runner.model is not model and norms(runner.model) == 0
    hook.after_test_epoch(runner, {})
    assert runner.model is model and norms(model) == 1
    torch.testing.assert_close(model.state_dict(), before)
