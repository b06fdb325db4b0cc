"""Winograd's convolution against torch's in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmfrcnn.ops import winograd
from mmfrcnn.ops.winograd import WinogradConv2d


def layer(channels=128, wide=128, bias=True, seed=0):
    torch.manual_seed(seed)
    return nn.Conv2d(channels, wide, 3, padding=1, bias=bias)


def exact(conv, x):
    bias = None if conv.bias is None else conv.bias.double()
    return nn.functional.conv2d(x.double(), conv.weight.double(), bias, padding=1)


@pytest.mark.parametrize('size', [(1, 1), (2, 9), (4, 4), (5, 7), (13, 31), (40, 3)])
@pytest.mark.parametrize('images, bias', [(1, True), (3, False)])
@torch.no_grad()
def test_equals_the_plain_convolution(size, images, bias, monkeypatch):
    monkeypatch.setattr(winograd, 'STRIP', 40_000)  # several strips in a band
    monkeypatch.setattr(winograd, 'BAND', 100_000)  # several bands in a map
    conv = layer(128, 160, bias)
    x = torch.randn(images, 128, *size)
    found = WinogradConv2d.of(conv)(x)
    expected = exact(conv, x)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * expected.std()


@torch.no_grad()
def test_any_memory_order():
    conv = layer()
    x = torch.randn(2, 128, 10, 11)
    short = WinogradConv2d.of(conv)
    last = x.contiguous(memory_format=torch.channels_last)
    wide = torch.randn(2, 128, 10, 22)
    wide[..., ::2] = x
    for same in (last, wide[..., ::2]):
        torch.testing.assert_close(short(same), short(x), rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_is_not_a_number_stays_near():
    """A NaN reaches the outputs around it, and never other images."""
    conv = WinogradConv2d.of(layer())
    x = torch.randn(2, 128, 16, 16)
    x[0, 5, 8, 8] = float('nan')
    found = conv(x)
    assert found[0, :, 7:10, 7:10].isnan().all()
    assert found[1].isfinite().all()


def test_gradients_are_the_plain_ones():
    conv = layer()
    x = torch.randn(1, 128, 6, 6, requires_grad=True)
    WinogradConv2d.of(conv)(x).square().sum().backward()
    found = x.grad.clone(), conv.weight.grad.clone()
    x.grad = conv.weight.grad = None
    conv(x).square().sum().backward()
    torch.testing.assert_close(found, (x.grad, conv.weight.grad))


@torch.no_grad()
def test_other_precisions_take_the_plain_way():
    conv = layer().bfloat16()
    assert not WinogradConv2d.fits(conv)
    x = torch.randn(1, 128, 6, 6)
    short = WinogradConv2d.of(layer())
    with torch.autocast('cpu', torch.bfloat16):
        assert short(x).dtype == torch.bfloat16


@pytest.mark.parametrize(
    'other',
    [
        nn.Conv2d(128, 128, 1),
        nn.Conv2d(128, 128, 3),
        nn.Conv2d(128, 128, 3, stride=2, padding=1),
        nn.Conv2d(128, 128, 3, dilation=2, padding=2),
        nn.Conv2d(128, 128, 3, padding=1, groups=2),
        nn.Conv2d(128, 128, 3, padding=1, padding_mode='reflect'),
        nn.Conv2d(32, 128, 3, padding=1),
        nn.Conv2d(128, 128, 3, padding='same'),
        nn.ConvTranspose2d(128, 128, 3, padding=1),
    ],
    ids=str,
)
def test_other_layers_do_not_fit(other):
    assert not WinogradConv2d.fits(other)


def test_the_layer_fits():
    assert WinogradConv2d.fits(layer())
