"""roi_align and roi_pool of mmcv.ops against loops over bins, points and pixels."""

from __future__ import annotations

import math

import pytest
import torch
from mmcv.ops import RoIAlign, roi_align, roi_pool

DEVICES = [
    'cpu',
    pytest.param(
        'cuda',
        marks=pytest.mark.skipif(
            not torch.cuda.is_available(), reason='needs a CUDA device'
        ),
    ),
]
# Inside, over every edge, outside, a tenth of a pixel, one long strip, and image 1.
ROIS = torch.tensor(
    [
        [0, 4.0, 6, 30, 22],
        [0, -9.3, -5.1, 12, 13],
        [1, 20.2, 9.7, 60, 50],
        [1, -30, -30, -20, -22],
        [0, 10, 10, 10.1, 10.1],
        [1, 0, 7, 39, 9],
    ],
    dtype=torch.float64,
)
SCALE = 0.5


def feature_maps(height=9, width=20, channels=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        2, channels, height, width, generator=generator, dtype=torch.float64
    )


def bilinear(image, y, x):
    """Interpolate one map (H, W) at a point; 0 if further than a pixel outside."""
    height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    total = 0.0
    for row in {math.floor(y), math.ceil(y)}:
        for column in {math.floor(x), math.ceil(x)}:
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            total += weight * image[row, column].item()
    return total


def points(start, end, bins, ratio, aligned):
    """Return the sample coordinates of each bin along one axis."""
    start, end = (edge * SCALE - (0.5 if aligned else 0) for edge in (start, end))
    extent = end - start if aligned else max(end - start, 1.0)
    count = ratio if ratio > 0 else math.ceil(extent / bins)
    size = extent / bins
    return [
        [start + size * (bin + (step + 0.5) / count) for step in range(count)]
        for bin in range(bins)
    ]


def brute_roi_align(feats, rois, size, ratio, mode, aligned):
    output = torch.zeros(len(rois), feats.size(1), *size, dtype=torch.float64)
    for k, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        ys = points(y1, y2, size[0], ratio, aligned)
        xs = points(x1, x2, size[1], ratio, aligned)
        for c, plane in enumerate(feats[int(image)]):
            for i in range(size[0]):
                for j in range(size[1]):
                    values = [bilinear(plane, y, x) for y in ys[i] for x in xs[j]]
                    best = max(values) if mode == 'max' else sum(values) / len(values)
                    output[k, c, i, j] = best
    return output


OPTIONS = [
    (ratio, mode, aligned)
    for ratio in (0, 1, 3)
    for mode in ('avg', 'max')
    for aligned in (True, False)
]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(('ratio', 'mode', 'aligned'), OPTIONS)
def test_roi_align(device, ratio, mode, aligned):
    feats, size = feature_maps(), (3, 2)
    expected = brute_roi_align(feats, ROIS, size, ratio, mode, aligned)
    for dtype, tolerance in (
        (torch.float64, 1e-10),
        (torch.float32, 1e-5),
        (torch.float16, 0.02),
        (torch.bfloat16, 0.1),
    ):
        # Halves only of the features' values: coordinates stay what they are.
        given = feats.to(device, dtype)
        rois = ROIS.to(device, torch.float32 if tolerance > 1e-3 else dtype)
        found = roi_align(given, rois, size, SCALE, ratio, mode, aligned)
        assert found.dtype == dtype
        torch.testing.assert_close(
            found.cpu().double(), expected, atol=tolerance, rtol=tolerance
        )


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(('ratio', 'mode', 'aligned'), OPTIONS)
def test_roi_align_gradients(device, ratio, mode, aligned):
    feats = feature_maps(5, 6, 1).to(device).requires_grad_()
    rois = torch.tensor(
        [[0, 1.0, 1, 7.3, 8.1], [1, -2, 0, 13, 9], [1, 2, 2, 5.2, 4]],
        dtype=torch.float64,
        device=device,
    )

    def pooled(feats):
        return roi_align(feats, rois, (2, 2), SCALE, ratio, mode, aligned)

    assert torch.autograd.gradcheck(pooled, feats)


def pixels(start, end, bins, size):
    """Return the pixels of each bin along one axis, as Fast R-CNN counts them."""
    first = math.floor(start * SCALE + 0.5)
    length = max(math.floor(end * SCALE + 0.5) - first + 1, 1) / bins
    return [
        [
            pixel
            for pixel in range(
                first + math.floor(bin * length), first + math.ceil((bin + 1) * length)
            )
            if 0 <= pixel < size
        ]
        for bin in range(bins)
    ]


def brute_roi_pool(feats, rois, size):
    output = torch.zeros(len(rois), feats.size(1), *size, dtype=torch.float64)
    for k, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        rows = pixels(y1, y2, size[0], feats.size(2))
        columns = pixels(x1, x2, size[1], feats.size(3))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                if row and column:
                    window = feats[int(image)][:, row][:, :, column]
                    output[k, :, i, j] = window.amax((1, 2))
    return output


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('size', [(3, 2), (7, 7), (1, 1)])
def test_roi_pool(device, size):
    feats = feature_maps()
    expected = brute_roi_pool(feats, ROIS, size)
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        half = dtype in (torch.float16, torch.bfloat16)
        rois = ROIS.to(device, torch.float32 if half else dtype)
        found = roi_pool(feats.to(device, dtype), rois, size, SCALE)
        assert found.dtype == dtype
        assert torch.equal(found.cpu(), expected.to(dtype))


@pytest.mark.parametrize('device', DEVICES)
def test_roi_pool_gradients(device):
    feats = feature_maps(5, 6, 1).to(device).requires_grad_()
    rois = ROIS.to(device)
    assert torch.autograd.gradcheck(lambda x: roi_pool(x, rois, (3, 2), SCALE), feats)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('mode', ['avg', 'max', 'pool'])
def test_gradients_in_half(dtype, mode):
    """Those of float32 features of the same values, rounded."""
    rois = ROIS.float()

    def gradient(feats):
        feats = feats.detach().requires_grad_()
        if mode == 'pool':
            pooled = roi_pool(feats, rois, (3, 2), SCALE)
        else:
            pooled = roi_align(feats, rois, (3, 2), SCALE, 2, mode, True)
        pooled.float().square().sum().backward()
        return feats.grad

    feats = feature_maps().to(dtype)
    found, expected = gradient(feats), gradient(feats.float())
    assert found.dtype == dtype
    # mmcv keeps the place of a maximum in the type of the features: 8 bits of it here.
    tolerance = 0.2 if (mode, dtype) == ('max', torch.bfloat16) else 0.05
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=0.02)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_no_regions(device, dtype):
    feats = feature_maps().to(device, dtype).requires_grad_()
    rois = torch.zeros(0, 5, device=device, dtype=dtype)
    for pooled in (
        roi_align(feats, rois, (7, 7), SCALE, 0, 'avg', True),
        roi_align(feats, rois, (7, 7), SCALE, 0, 'max', True),
        roi_pool(feats, rois, (7, 7), SCALE),
    ):
        assert pooled.shape == (0, 2, 7, 7)
        assert torch.equal(
            torch.autograd.grad(pooled.sum(), feats)[0], torch.zeros_like(feats)
        )


def test_regions_without_extent():
    """No sample points: an average of 0, mmcv's stand-in for a maximum, no gradient."""
    feats = feature_maps().requires_grad_()
    rois = torch.tensor([[0, 8.0, 6, 8, 6]], dtype=torch.float64)
    average = roi_align(feats, rois, (2, 2), SCALE, 0, 'avg', True)
    assert torch.equal(average, torch.zeros_like(average))
    maximum = roi_align(feats, rois, (2, 2), SCALE, 0, 'max', True)
    assert (maximum == -10000).all()
    (average.sum() + maximum.sum()).backward()
    assert torch.equal(feats.grad, torch.zeros_like(feats))


def test_module_of_mmcv():
    feats = feature_maps()
    layer = RoIAlign((3, 2), SCALE, sampling_ratio=2, pool_mode='max')
    expected = brute_roi_align(feats, ROIS, (3, 2), 2, 'max', True)
    torch.testing.assert_close(layer(feats, ROIS), expected)
