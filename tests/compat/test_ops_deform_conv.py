"""Deformable convolutions of mmcv.ops against a loop over outputs and taps."""

from __future__ import annotations

import math
import re

import pytest
import torch
from mmcv.ops import DeformConv2dPack, deform_conv2d, modulated_deform_conv2d
from mmdet.registry import MODELS
from torch.nn import functional as F

from mmfrcnn.compat.ops import SERVED

DEVICES = [
    'cpu',
    pytest.param(
        'cuda',
        marks=pytest.mark.skipif(
            not torch.cuda.is_available(), reason='needs a CUDA device'
        ),
    ),
]
# stride, padding, dilation, groups, deformable groups; pairs are (y, x)
GEOMETRIES = [
    (1, 1, 1, 1, 1),
    ((2, 1), (0, 2), (1, 2), 1, 1),
    (2, 1, 1, 2, 1),
    (1, 2, 2, 2, 2),
    (1, 0, 1, 4, 4),
]


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def output_size(geometry, size, kernel=(3, 2)):
    stride, padding, dilation = map(pair, geometry[:3])
    return tuple(
        (size[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1
        for d in (0, 1)
    )


def make(geometry, batch=2, channels=4, out_channels=4, size=(6, 5), kernel=(3, 2)):
    """Return input, offset, mask, weight and bias in float64."""
    generator = torch.Generator().manual_seed(3)
    groups, deform_groups = geometry[3:]
    taps = deform_groups * kernel[0] * kernel[1]

    def randn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    out = output_size(geometry, size, kernel)
    return (
        randn(batch, channels, *size),
        2 * randn(batch, 2 * taps, *out),
        torch.rand((batch, taps, *out), generator=generator, dtype=torch.float64),
        randn(out_channels, channels // groups, *kernel),
        randn(out_channels),
    )


def bilinear(plane, y, x):
    """Interpolate a map (H, W) that is zero outside."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.size(0) and 0 <= column < plane.size(1):
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                total += weight * plane[row, column].item()
    return total


def brute(input, offset, mask, weight, bias, geometry):
    """Dai et al. 2017, Zhu et al. 2019: a sum over displaced, weighed taps."""
    stride, padding, dilation = map(pair, geometry[:3])
    groups, deform_groups = geometry[3:]
    batch, channels = input.shape[:2]
    num_out, _, kernel_h, kernel_w = weight.shape
    height, width = offset.shape[-2:]
    columns = torch.zeros(
        batch, channels, kernel_h, kernel_w, height, width, dtype=torch.float64
    )
    for n, c, i, j, h, w in torch.cartesian_prod(
        *map(torch.arange, columns.shape)
    ).tolist():
        group = c // (channels // deform_groups)
        tap = (group * kernel_h + i) * kernel_w + j
        y = h * stride[0] - padding[0] + i * dilation[0] + offset[n, 2 * tap, h, w]
        x = w * stride[1] - padding[1] + j * dilation[1] + offset[n, 2 * tap + 1, h, w]
        value = bilinear(input[n, c], y.item(), x.item())
        columns[n, c, i, j, h, w] = value * (1 if mask is None else mask[n, tap, h, w])
    columns = columns.view(batch, groups, -1, height * width)
    kernels = weight.view(groups, num_out // groups, -1)
    output = torch.einsum('gok,ngkp->ngop', kernels, columns)
    output = output.reshape(batch, num_out, height, width)
    return output if bias is None else output + bias[:, None, None]


PRECISIONS = [
    (torch.float64, 1e-10),
    (torch.float32, 1e-4),
    (torch.float16, 0.05),
    (torch.bfloat16, 0.4),
]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_v1(device, geometry):
    input, offset, _, weight, _ = make(geometry)
    offset = (offset * 8).round() / 8  # halves hold eighths exactly
    expected = brute(input, offset, None, weight, None, geometry)
    for dtype, tolerance in PRECISIONS:
        tensors = (tensor.to(device, dtype) for tensor in (input, offset, weight))
        found = deform_conv2d(*tensors, *geometry)
        assert found.dtype == dtype
        torch.testing.assert_close(
            found.cpu().double(), expected, atol=tolerance, rtol=tolerance
        )


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('with_bias', [True, False])
@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_v2(device, geometry, with_bias):
    input, offset, mask, weight, bias = make(geometry)
    offset = (offset * 8).round() / 8
    bias = bias if with_bias else None
    expected = brute(input, offset, mask, weight, bias, geometry)
    for dtype, tolerance in PRECISIONS:
        tensors = (x.to(device, dtype) for x in (input, offset, mask, weight))
        given_bias = bias.to(device, dtype) if with_bias else None
        found = modulated_deform_conv2d(*tensors, given_bias, *geometry)
        assert found.dtype == dtype
        torch.testing.assert_close(
            found.cpu().double(), expected, atol=tolerance, rtol=tolerance
        )


def small(geometry, device):
    tensors = make(geometry, batch=1, size=(5, 4))
    return [tensor.to(device).requires_grad_() for tensor in tensors]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_gradients_v1(device, geometry):
    input, offset, _, weight, _ = small(geometry, device)

    def convolve(*tensors):
        return deform_conv2d(*tensors, *geometry)

    assert torch.autograd.gradcheck(
        convolve, (input, offset, weight), fast_mode=True, nondet_tol=1e-10
    )


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('geometry', GEOMETRIES)
@pytest.mark.parametrize('with_bias', [True, False])
def test_gradients_v2(device, geometry, with_bias):
    tensors = small(geometry, device)

    def convolve(input, offset, mask, weight, bias=None):
        return modulated_deform_conv2d(input, offset, mask, weight, bias, *geometry)

    given = tensors if with_bias else tensors[:4]
    assert torch.autograd.gradcheck(convolve, given, fast_mode=True, nondet_tol=1e-10)


def test_without_offsets_it_is_a_convolution():
    """mmcv's layer starts with offsets of zero."""
    layer = DeformConv2dPack(4, 6, 3, stride=2, padding=1)
    images = torch.randn(2, 4, 9, 8)
    expected = F.conv2d(images, layer.weight, stride=2, padding=1)
    torch.testing.assert_close(layer(images), expected, atol=1e-5, rtol=1e-5)


def test_a_batch_larger_than_the_step():
    geometry = (1, 1, 1, 1, 1)
    input, offset, _, weight, _ = make(geometry, batch=4)
    whole = deform_conv2d(input, offset, weight, *geometry, False, 32)
    steps = deform_conv2d(input, offset, weight, *geometry, False, 2)
    torch.testing.assert_close(whole, steps)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_no_images(device, dtype):
    """The op itself: mmcv's function refuses an empty batch before it calls the op."""
    geometry = (1, 1, 1, 1, 1)
    input, offset, mask, weight, bias = (
        x.to(device, dtype) for x in make(geometry, batch=0)
    )
    output, scratch = input.new_empty(0, 4, 6, 6), input.new_empty(0)
    names = 'stride_h stride_w pad_h pad_w dilation_h dilation_w group deformable_group'
    options = dict.fromkeys(names.split(), 1) | dict(kernel_h=3, kernel_w=2)
    SERVED['modulated_deform_conv_forward'](
        *(input, weight, bias, scratch, offset, mask, output, scratch),
        **options,
        with_bias=True,
    )
    gradients = [torch.ones_like(x) for x in (input, weight, bias, offset, mask)]
    SERVED['modulated_deform_conv_backward'](
        *(input, weight, bias, scratch, offset, mask, scratch, *gradients, output),
        **options,
        with_bias=True,
    )
    assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_gradients_in_half_are_those_of_float32(dtype):
    geometry = (1, 1, 1, 1, 1)

    def gradients(dtype):
        halves = [x.to(half) for x in make(geometry)]
        tensors = [x.to(dtype).detach().requires_grad_() for x in halves]
        modulated_deform_conv2d(*tensors, *geometry).float().sum().backward()
        return [tensor.grad for tensor in tensors]

    half = dtype
    for found, expected in zip(gradients(half), gradients(torch.float32), strict=True):
        assert found.dtype == half
        torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.05)


def test_offsets_of_a_larger_map_are_read_from_flat_memory():
    """As mmcv's kernel does: image by image, the first numbers in memory."""
    geometry = (1, 1, 1, 1, 1)
    input, offset, mask, weight, bias = make(geometry)
    larger = [
        torch.cat([maps.flatten(1), torch.ones(2, extra, dtype=maps.dtype)], 1)
        for maps, extra in ((offset, 12 * 42 - 12 * 36), (mask, 6 * 42 - 6 * 36))
    ]
    larger = [
        flat.view(2, planes, 7, 6).requires_grad_()
        for flat, planes in zip(larger, (12, 6), strict=True)
    ]
    exact = [maps.requires_grad_() for maps in (offset, mask)]
    outputs = [
        modulated_deform_conv2d(input, *maps, weight, bias, *geometry)
        for maps in (larger, exact)
    ]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().sum().backward()
    for big, small in zip(larger, exact, strict=True):
        read = small[0].numel()
        assert torch.equal(big.grad.flatten(1)[:, :read], small.grad.flatten(1))
        assert small.grad.any() and not big.grad.flatten(1)[:, read:].any()


@pytest.mark.parametrize('small', ['offset', 'mask'])
def test_maps_smaller_than_the_output_are_named(small):
    """mmcv's kernels would read what lies behind them in memory."""
    input, offset, mask, weight, bias = make(GEOMETRIES[0])
    height, width = offset.shape[2:]
    if small == 'offset':
        offset = offset[..., 1:, :].contiguous()
    else:
        mask = mask[..., 1:, :].contiguous()
    shape = (*dict(offset=offset, mask=mask)[small].shape,)
    words = f'{small} of shape {shape} is too small for an output of {height, width}'
    with pytest.raises(ValueError, match=re.escape(words)):
        modulated_deform_conv2d(input, offset, mask, weight, bias, *GEOMETRIES[0])


def test_dyhead_runs():
    """mmdet's dynamic head gives a level the offsets of the level below."""
    head = MODELS.build(dict(type='mmdet.DyHead', in_channels=16, out_channels=16))
    levels = [torch.randn(1, 16, size, size, requires_grad=True) for size in (16, 8, 4)]
    outputs = head(tuple(levels))
    assert [level.shape for level in outputs] == [level.shape for level in levels]
    sum(level.sum() for level in outputs).backward()
    assert all(torch.isfinite(level.grad).all() for level in levels)


@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('axis', [0, 1])
def test_a_sample_at_exactly_minus_one_gets_no_gradient(modulated, axis):
    """mmcv leaves out what does not lie beyond -1; a step further in counts."""
    input = torch.arange(1.0, 10).view(1, 1, 3, 3)
    gradients = []
    for move in (-1.0, -0.75):
        offset = torch.zeros(1, 2, 3, 3)
        offset[0, axis, 0, 0] = move
        offset.requires_grad_()
        weight = torch.ones(1, 1, 1, 1)
        if modulated:
            mask = torch.ones(1, 1, 3, 3)
            output = modulated_deform_conv2d(input, offset, mask, weight)
        else:
            output = deform_conv2d(input, offset, weight)
        output[0, 0, 0, 0].backward()
        gradients.append(offset.grad[0, :, 0, 0].tolist())
    outside, inside = gradients
    assert outside == [0, 0]
    assert inside[axis] == 1  # from 0 at -1 to the first value, 1, at 0
