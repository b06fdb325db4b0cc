"""detectron2 is not installed: a second account of its networks, in its own names."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import TASK_UTILS
from torchvision.ops import roi_align

from mmfrcnn.errors import UserError
from mmfrcnn.weights.detectron2 import architecture, from_detectron2

from . import ours

MODELS = [(kind, depth) for kind in ('C4', 'DC5', 'FPN') for depth in (50, 101)]
EACH = pytest.mark.parametrize('kind, depth', MODELS)
# Tensors beside the 53 or 104 convolutions and their norms, by hand: RPN and predictor
# 10, two fully connected layers 4, the pyramid 16.
TENSORS = {'C4': 10, 'DC5': 14, 'FPN': 30}


def draw(kind: str, depth: int) -> dict[str, torch.Tensor]:
    """Draw a published file: no batch counters."""
    generator = torch.Generator().manual_seed(depth)
    weights = {}
    for row in architecture(kind, depth):
        if 'num_batches' in row.source:
            continue
        fan_in = math.prod(row.shape[1:])
        tensor = torch.randn(row.shape, generator=generator) * (1.5 / fan_in) ** 0.5
        if 'norm.' in row.source:
            tensor = tensor * 0.05
            if row.source.endswith(('norm.weight', 'running_var')):
                tensor = tensor.abs() + 0.7
        weights[row.source] = tensor
    return weights


def config_of(kind: str, depth: int):
    return ours.load(f'detectron2/faster-rcnn_r{depth}_{kind.lower()}_coco')


@EACH
def test_every_tensor_has_its_place_and_shape(kind, depth):
    rows = architecture(kind, depth)
    convolutions = 1 + 4 + 3 * {50: 16, 101: 33}[depth]
    published = [row for row in rows if 'num_batches' not in row.source]
    assert len(published) == 5 * convolutions + TENSORS[kind]
    assert len({row.source for row in rows}) == len(rows)
    with torch.device('meta'):
        model = ours.build(config_of(kind, depth))
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {row.target: row.shape for row in rows} == expected


def test_names_of_the_published_files():
    """Names from users' logs of detectron2, a few of each kind."""
    names = {
        kind: {row.source for row in architecture(kind, 50)}
        for kind in ('C4', 'DC5', 'FPN')
    }
    assert names['FPN'] >= {
        'backbone.bottom_up.stem.conv1.norm.running_var',
        'backbone.bottom_up.res4.5.conv3.norm.bias',
        'backbone.bottom_up.res5.0.shortcut.weight',
        'backbone.fpn_lateral2.bias',
        'backbone.fpn_output5.weight',
        'proposal_generator.rpn_head.anchor_deltas.bias',
        'roi_heads.box_head.fc2.weight',
        'roi_heads.box_predictor.bbox_pred.bias',
    }
    assert 'backbone.res4.3.conv1.norm.weight' in names['C4'] & names['DC5']
    assert 'roi_heads.res5.2.conv3.weight' in names['C4']
    assert 'backbone.res5.2.conv3.weight' in names['DC5']


class Reference:
    """detectron2's network as functions of its weights."""

    def __init__(self, weights, kind, depth):
        self.weights, self.kind = weights, kind
        self.blocks = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]

    def affine(self, x, name, padding=0):
        weight, bias = (self.weights[f'{name}.{part}'] for part in ('weight', 'bias'))
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        return F.conv2d(x, weight, bias, padding=padding)

    def conv(self, x, name, **options):
        x = F.conv2d(x, self.weights[f'{name}.weight'], **options)
        norm = [
            self.weights[f'{name}.norm.{part}'].view(-1, 1, 1)
            for part in ('running_mean', 'running_var', 'weight', 'bias')
        ]
        mean, variance, weight, bias = norm
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def stage(self, x, name, blocks, stride, dilation=1):
        for index in range(blocks):
            block, step = f'{name}.{index}', stride if index == 0 else 1
            short = self.conv(x, f'{block}.shortcut', stride=step) if not index else x
            y = self.conv(x, f'{block}.conv1', stride=step).relu()  # MSRA: stride here
            y = self.conv(
                y, f'{block}.conv2', padding=dilation, dilation=dilation
            ).relu()
            x = (self.conv(y, f'{block}.conv3') + short).relu()
        return x

    def features(self, images):
        trunk = 'backbone.bottom_up.' if self.kind == 'FPN' else 'backbone.'
        x = self.conv(images, f'{trunk}stem.conv1', stride=2, padding=3).relu()
        x, maps = F.max_pool2d(x, 3, 2, 1), []
        for stage, blocks in zip((2, 3, 4, 5), self.blocks, strict=True):
            if self.kind == 'C4' and stage == 5:
                break
            dilated = self.kind == 'DC5' and stage == 5
            stride = 1 if stage == 2 or dilated else 2
            x = self.stage(x, f'{trunk}res{stage}', blocks, stride, 2 if dilated else 1)
            maps.append(x)
        if self.kind != 'FPN':
            return maps[-1:]
        above, outputs = None, []
        for level in (5, 4, 3, 2):
            lateral = self.affine(maps[level - 2], f'backbone.fpn_lateral{level}')
            if above is not None:
                lateral = lateral + F.interpolate(above, scale_factor=2)
            above = lateral
            output = self.affine(lateral, f'backbone.fpn_output{level}', padding=1)
            outputs.insert(0, output)
        return [*outputs, outputs[-1][..., ::2, ::2]]

    def rpn(self, level):
        name = 'proposal_generator.rpn_head.'
        hidden = self.affine(level, f'{name}conv', padding=1).relu()
        return (
            self.affine(hidden, f'{name}objectness_logits'),
            self.affine(hidden, f'{name}anchor_deltas'),
        )

    def box(self, features, rois):
        size, scale = (14, 1 / 16) if self.kind == 'C4' else (7, 1 / 16)
        scale = 1 / 4 if self.kind == 'FPN' else scale  # small regions: the first level
        x = roi_align(features[0], rois, size, scale, 0, aligned=True)
        if self.kind == 'C4':
            x = self.stage(x, 'roi_heads.res5', 3, 2).mean((2, 3))
        else:
            x = self.affine(x.flatten(1), 'roi_heads.box_head.fc1').relu()
            x = self.affine(x, 'roi_heads.box_head.fc2').relu()
        name = 'roi_heads.box_predictor.'
        return self.affine(x, f'{name}cls_score'), self.affine(x, f'{name}bbox_pred')


@pytest.mark.parametrize('kind', ['C4', 'DC5', 'FPN'])
@torch.no_grad()
def test_the_network_is_the_same(kind):
    weights = draw(kind, 50)
    reference = Reference(weights, kind, 50)
    model = ours.build(config_of(kind, 50), from_detectron2(weights, 'file').tensors)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    expected, found = reference.features(images), model.extract_feat(images)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    maps = model.rpn_head(found)
    for level, theirs in enumerate(expected):
        for mine, other in zip(maps, reference.rpn(theirs), strict=True):
            torch.testing.assert_close(mine[level], other, rtol=1e-3, atol=1e-4)
    rois = torch.tensor([[0.0, 3, 5, 60, 40], [0, 10.5, 2, 31, 63]])
    head = model.roi_head._bbox_forward(found, rois)
    scores, deltas = reference.box(expected, rois)
    torch.testing.assert_close(head['cls_score'], scores, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(head['bbox_pred'], deltas, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('kind', ['C4', 'DC5', 'FPN'])
def test_anchors(kind):
    """Sizes before ratios, about the corner of each cell, not rounded."""
    config = config_of(kind, 50)
    generator = TASK_UTILS.build(config.model.rpn_head.anchor_generator)
    anchors = torch.cat(generator.base_anchors)
    sides = [
        (size / ratio**0.5, size * ratio**0.5)
        for size in (32, 64, 128, 256, 512)
        for ratio in (0.5, 1.0, 2.0)
    ]
    expected = torch.tensor([[-w / 2, -h / 2, w / 2, h / 2] for w, h in sides])
    torch.testing.assert_close(anchors, expected, rtol=1e-6, atol=1e-4)


def test_constants_are_checked_and_left_out():
    rows = architecture('C4', 50, 2)
    weights = {
        row.source: torch.zeros(row.shape)
        for row in rows
        if 'num_batches' not in row.source
    }
    plain = from_detectron2(weights, 'file').tensors
    mean = torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    key = 'proposal_generator.anchor_generator.cell_anchors.0'
    anchors = torch.zeros(15, 4)
    with pytest.raises(UserError, match=r'cell_anchors\.0 is'):
        from_detectron2({**weights, key: anchors}, 'file')
    constants = {'pixel_mean': mean, 'pixel_std': torch.ones(3, 1, 1)}
    assert from_detectron2({**weights, **constants}, 'file').tensors.keys() == (
        plain.keys()
    )
    with pytest.raises(UserError, match='pixel_mean is'):
        from_detectron2({**weights, 'pixel_mean': mean.flip(0)}, 'file')
    with pytest.raises(UserError, match=r'1 not of it: roi_heads\.mask_head\.weight'):
        from_detectron2({**weights, 'roi_heads.mask_head.weight': mean}, 'file')
    del weights['roi_heads.res5.1.conv2.weight']
    with pytest.raises(
        UserError, match=r'R50-C4.* 1 missing: roi_heads\.res5\.1\.conv2\.weight'
    ):
        from_detectron2(weights, 'file')
    with pytest.raises(UserError, match='6 or 23 blocks'):
        from_detectron2({'a': mean}, 'file')
