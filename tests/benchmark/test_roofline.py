"""Counted layers against published figures, and bounds against arithmetic by hand."""

from __future__ import annotations

import itertools
import json
import runpy
import sys

import pytest
import torch
import torch.nn.functional as F
from mmfrcnn_benchmark import command, contenders, roofline
from mmfrcnn_benchmark.op_costs import LaunchCounter, count_launches, operator_costs
from mmfrcnn_benchmark.roofline import (
    CARDS,
    Card,
    Layer,
    LayerCounter,
    bound,
    count_step,
)
from torchvision.models import ResNet50_Weights, resnet50

from tests.tools import REPO

PUBLISHED = ResNet50_Weights.IMAGENET1K_V1.meta['_ops']
"""Multiplications of ResNet-50 on 224x224, in 1e9, as torchvision publishes them."""


def flops(layers):
    return sum(layer.flops for layer in layers)


def test_resnet_is_as_published():
    with torch.device('meta'), torch.no_grad(), LayerCounter() as counted:
        resnet50()(torch.empty(1, 3, 224, 224))
    assert len(counted.layers) == 54
    assert flops(counted.layers) / 2e9 == pytest.approx(PUBLISHED, rel=1e-3)


def test_a_detector_is_the_published_backbone_and_heads_by_hand():
    height, width, regions = 800, 1344, 1000
    cells = [height // s * (width // s) for s in (4, 8, 16, 32)]
    top = 13 * 21  # of P6
    backbone = (PUBLISHED * 1e9 - 2048 * 1000) * height * width / 224**2
    channels = (256, 512, 1024, 2048)
    neck = sum(n * (c * 256 + 9 * 256**2) for n, c in zip(cells, channels, strict=True))
    rpn = (sum(cells) + top) * (9 * 256**2 + 256 * 3 * (1 + 4))
    head = regions * (256 * 49 * 1024 + 1024**2 + 1024 * (81 + 320))
    expected = backbone + neck + rpn + head
    counted = flops(count_step(1, False, (height, width), regions)) / 2
    assert counted == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize('training', [False, True])
def test_arithmetic_grows_with_the_batch(training):
    one, eight = (count_step(n, training, (64, 96), 10) for n in (1, 8))
    assert flops(eight) == 8 * flops(one)
    assert len(eight) == len(one)


def test_a_trained_linear_layer_costs_three_times_its_forward_pass():
    costs = {
        training: flops(count_step(1, training, (64, 96), 20))
        - flops(count_step(1, training, (64, 96), 10))
        for training in (False, True)
    }
    assert costs[True] == 3 * costs[False]


def test_frozen_layers_have_no_backward_pass():
    forward, both = (flops(count_step(1, t, (64, 96), 10)) for t in (False, True))
    # The stem and the first stage, as published for 224x224 in the paper's table 1.
    stem = 112 * 112 * 49 * 3 * 64
    stage = 56 * 56 * (64 * 64 + 2 * 256 * 64 + 3 * (9 * 64**2 + 64 * 256) + 64 * 256)
    frozen = 2 * (stem + stage) * 64 * 96 / 224**2
    # What reads a frozen layer's output has no gradient to give it: two convolutions.
    half = 2 * 256 * (128 * 16 * 24 + 512 * 8 * 12) + 2 * 256 * 256 * 16 * 24
    assert both == pytest.approx(3 * (forward - frozen) + frozen - half, rel=1e-6)


def test_bytes_are_of_each_tensor_once():
    x = torch.empty(2, 3, 8, 8, device='meta')
    weight = torch.empty(5, 3, 3, 3, device='meta', requires_grad=True)
    with LayerCounter() as counted:
        F.conv2d(x, weight, padding=1).sum().backward()
    there, back = counted.layers
    image, filters, out = 2 * 3 * 64, 5 * 3 * 9, 2 * 5 * 64
    assert there == Layer(2 * out * 27, 2 * (image + filters + out))
    # The image needs no gradient.
    assert back == Layer(2 * out * 27, 2 * (out + image + filters + filters))


def test_bounds_by_hand():
    card = Card('slow', bfloat16=10.0, float32=1.0, bandwidth=2.0)
    layers = [Layer(flops=100, bytes=2), Layer(flops=10, bytes=8)]
    assert bound(layers, card) == (11.0, 5.0, 10.0 + 4.0)


def test_pairs_and_bytes_by_hand():
    nms, assignment, sampling, align, _ = operator_costs(64, 96)
    levels = [3 * cells for cells in (16 * 24, 8 * 12, 4 * 6, 2 * 3, 1 * 2)]
    pairs = sum(len(list(itertools.combinations(range(n), 2))) for n in levels)
    assert nms.count == pairs
    assert assignment.count == 8 * sum(levels)
    assert sampling.bytes_once == 8 * sum(levels)
    assert align.count == 512 * 49 * 4
    card = Card('slow', bfloat16=1.0, float32=1e3, bandwidth=1e3)
    assert nms.seconds(16, card) == pytest.approx(16 * 13 * pairs / 1e3)
    moved = 8 * sum(levels) + 16 * (sum(levels) + 256 * 10)
    assert sampling.seconds(16, card) == pytest.approx(moved / 1e3)


def test_launches_are_operators_that_do_something():
    x = torch.arange(6.0)
    with LaunchCounter() as counted:
        y = x.view(2, 3).t() + 1
        torch.empty(3)
        (y * y).sum().add_(2)
    assert counted.operators == 4


@pytest.mark.parametrize('operator', ['assignment', 'sampling', 'RoIAlign'])
def test_launches_do_not_depend_on_the_batch(operator):
    pytest.importorskip('triton', reason='Triton is not installed')
    plain, kernel = (
        [count_launches(operator, way, n, 192, 256) for n in (1, 16)]
        for way in ('reference', 'cuda')
    )
    assert plain[0] == plain[1] > 10
    assert kernel[0] == kernel[1] < plain[0]


def test_tables_say_that_nothing_was_measured(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(roofline, 'BATCHES', (1, 2))
    monkeypatch.setitem(contenders.PROPOSALS_BEFORE_NMS, True, 40)
    out = tmp_path / 'roofline.json'
    arguments = ['benchmark.py', '--roofline', '--json', str(out), '--device', 'cpu']
    monkeypatch.setattr(sys, 'argv', arguments)
    parse_args = runpy.run_path(str(REPO / 'tools/benchmark.py'))['parse_args']
    command.run(parse_args())
    for step in json.loads(out.read_text())[0]['steps']:
        for least in step['bounds'].values():
            assert max(least['compute'], least['memory']) <= least['layers']
    text = capsys.readouterr().out
    assert 'computed, not measured' in text
    assert all(
        f'| {card.name} ' in text and f'{card.name}, us' in text for card in CARDS
    )
