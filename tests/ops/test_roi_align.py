"""RoIAlign's implementations against torchvision and against a definition.

The kernels run in Triton's interpreter where there is no card.
"""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch._subclasses.fake_tensor import FakeTensorMode

from mmfrcnn.ops import roi_align
from mmfrcnn.ops.backend import using
from mmfrcnn.ops.roi_align import pyramid_roi_align

STRIDES = (4, 8, 16, 32)
HEIGHT, WIDTH, IMAGES, CHANNELS = 64, 64, 2, 5
RULES = [(0, True), (0, False), (2, True), (3, False)]
BACKENDS = pytest.mark.parametrize('backend', ['cuda', 'reference', 'cpu'])
OPERATORS = pytest.mark.parametrize('backend', ['cuda', 'reference'])


@pytest.fixture(autouse=True)
def device(kernel_device):
    """Return where the kernels run, that any test here may ask for."""
    return kernel_device


def pyramid(*, strides=STRIDES, images=IMAGES, channels=CHANNELS):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(images, channels, HEIGHT // s, WIDTH // s, generator=generator)
        for s in strides
    ]


def regions(count):
    """Draw regions (K, 5) of up to 6 features, and their levels."""
    generator = torch.Generator().manual_seed(1)
    image = torch.arange(count)[:, None] % IMAGES
    levels = torch.arange(count) // IMAGES % len(STRIDES)
    side = torch.rand(count, 2, generator=generator) * 6 * 4 * 2 ** levels[:, None]
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    return torch.cat([image, corner - side / 2, corner + side / 2], 1), levels


def gradient_of(pooled):
    """Return a gradient that differs everywhere."""
    return torch.linspace(-1, 1, pooled.numel()).view(pooled.shape).to(pooled)


def gradients(pooled, feats):
    """Return the gradient of every level, zeros where no region is."""
    given = gradient_of(pooled)
    return list(torch.autograd.grad(pooled, feats, given, materialize_grads=True))


def pool(backend, device, feats, rois, levels, strides=STRIDES, size=2, rule=(0, True)):
    """Pool forth and back: what was pooled, and the gradient of every level."""
    device = 'cpu' if backend == 'cpu' else device
    feats = [level.detach().to(device).requires_grad_() for level in feats]
    options = dict(output_size=size, sampling_ratio=rule[0], aligned=rule[1])
    with using(backend):
        pooled = pyramid_roi_align(
            feats, rois.to(device), levels.to(device), strides, **options
        )
        pooled.backward(gradient_of(pooled))
    return pooled.detach().cpu(), [level.grad.cpu() for level in feats]


def by_torchvision(feats, rois, levels, strides=STRIDES, size=2, rule=(0, True)):
    """Pool each region by itself, on its level."""
    feats = [level.detach().clone().requires_grad_() for level in feats]
    pooled = torch.cat(
        [
            torchvision.ops.roi_align(feats[level], roi[None], size, scale, *rule)
            for roi, level in zip(rois, levels.tolist(), strict=True)
            for scale in [1 / strides[level]]
        ]
    )
    return pooled.detach(), gradients(pooled, feats)


def by_definition(feats, rois, levels, strides=STRIDES, size=2, rule=(0, True)):
    """Sum bilinear weights of all sample points, axis by axis, in float64."""
    feats = [level.detach().double().requires_grad_() for level in feats]
    pooled = []
    for roi, level in zip(rois.double(), levels.tolist(), strict=True):
        features = feats[level][int(roi[0])]
        near, far = roi[1:].view(2, 2).flip(1) / strides[level]  # y, x
        x, y = (
            shares(near[axis], far[axis], features.shape[1 + axis], size, *rule)
            for axis in (1, 0)
        )
        pooled.append(torch.einsum('iy,cyx,jx->cij', y, features, x))
    pooled = torch.stack(pooled)
    return pooled.detach().float(), [one.float() for one in gradients(pooled, feats)]


def shares(near, far, length, size, ratio, aligned):
    """Return the weight of each of ``length`` features in each of ``size`` cells."""
    weights = torch.zeros(size, length, dtype=torch.float64)
    start = near - 0.5 * aligned
    extent = far - near if aligned else (far - near).clamp(min=1)
    count = ratio or max(0, math.ceil(extent / size))
    steps = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    for cell in range(size):
        position = start + (cell + steps) * extent / size
        position = position[(position >= -1) & (position <= length)]
        position = position.clamp(0, length - 1)
        low = position.long()
        high = (low + 1).clamp(max=length - 1)
        weights[cell].index_add_(0, low, (1 - (position - low)) / count)
        weights[cell].index_add_(0, high, (position - low) / count)
    return weights


def assert_equal(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@BACKENDS
@pytest.mark.parametrize('rule', RULES)
def test_equals_torchvision_on_all_levels(device, backend, rule):
    given = pyramid(), *regions(8)
    expected = by_torchvision(*given, rule=rule)
    assert_equal(pool(backend, device, *given, rule=rule), expected)
    assert all(gradient.any() for gradient in expected[1])


@pytest.mark.parametrize('size', [1, 3])
def test_other_sizes_of_the_result(device, size):
    feats = [level.to(memory_format=torch.channels_last) for level in pyramid()]
    given = feats, *regions(4)
    found = pool('cuda', device, *given, size=size)
    assert_equal(found, by_torchvision(*given, size=size))


def test_more_channels_than_a_program_holds(device, monkeypatch):
    from mmfrcnn.ops.roi_align import cuda

    monkeypatch.setattr(cuda, 'FORWARD_ELEMENTS', 8)
    monkeypatch.setattr(cuda, 'TILE_CHANNELS', 4)
    given = pyramid(), *regions(3)
    assert_equal(pool('cuda', device, *given), by_torchvision(*given))


def test_more_regions_of_a_map_than_a_program_looks_at_together(device, monkeypatch):
    from mmfrcnn.ops.roi_align import cuda

    monkeypatch.setattr(cuda, 'CHUNK', 2)
    rois, _ = regions(7)
    given = pyramid(strides=[16]), rois, torch.zeros(7, dtype=torch.int64), [16]
    assert_equal(pool('cuda', device, *given), by_torchvision(*given))


# A map of 6 x 8 features of 4 px, and regions that are awkward on it.
AWKWARD = {
    'no area': [9, 9, 9, 9],
    'no width': [9, 3, 9, 20],
    'inside out': [20, 18, 3, 5],
    'left of its right': [20, 3, 5, 19],
    'outside': [-60, -60, -20, -20],
    'beyond': [33, 25, 60, 60],
    'over the edge': [-11, -7, 6, 5],
    'over the other edge': [27, 15, 41, 33],
    'a line': [-64, 10, 64, 11],
    'far larger': [-300, -200, 300, 200],
}


@BACKENDS
@pytest.mark.parametrize('rule', [(0, True), (0, False), (2, True)])
def test_awkward_regions(device, backend, rule):
    boxes = torch.tensor(list(AWKWARD.values()), dtype=torch.float32)
    rois = torch.cat([torch.zeros(len(boxes), 1), boxes], 1)
    feats = [torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(2))]
    given = feats, rois, torch.zeros(len(boxes), dtype=torch.int64), [4]
    expected = by_definition(*given, rule=rule)
    assert_equal(pool(backend, device, *given, rule=rule), expected)
    pooled = dict(zip(AWKWARD, expected[0].flatten(1).any(1).tolist(), strict=True))
    assert pooled['over the edge'] and pooled['over the other edge']
    assert not pooled['outside'] and not pooled['beyond']
    assert pooled['no area'] == pooled['inside out'] == (rule != (0, True))


@pytest.mark.parametrize('backend', ['cuda', 'cpu'])
def test_points_without_number(device, backend):
    """A region of 2^20 px has 2^17 points a cell, of which a few lie on the map."""
    rois = torch.tensor([[0, -(2.0**19), -(2.0**19), 2.0**19, 2.0**19]])
    feats = [torch.randn(1, 3, 4, 3, generator=torch.Generator().manual_seed(3))]
    given = feats, rois, torch.zeros(1, dtype=torch.int64), [4]
    pooled, (gradient,) = pool(backend, device, *given, rule=(0, True))
    expected, (expected_gradient,) = by_definition(*given, rule=(0, True))
    torch.testing.assert_close(pooled, expected, atol=0, rtol=1e-4)
    torch.testing.assert_close(gradient, expected_gradient, atol=0, rtol=1e-4)
    assert expected.all()


@BACKENDS
@pytest.mark.parametrize('rule', [(0, True), (0, False), (2, True)])
@pytest.mark.filterwarnings('ignore:invalid value encountered')
def test_regions_that_are_nowhere_pool_nothing(device, backend, rule):
    """Coordinates that are no numbers, and levels that do not exist."""
    rois = torch.tensor([[0, 3.0, 3.0, 20.0, 20.0]]).repeat(13, 1)
    for number, value in enumerate([math.nan, math.inf, -math.inf] * 3):
        rois[number, 1 + number % 4] = value
    rois[9, 0] = math.nan
    levels = torch.zeros(13, dtype=torch.int64)
    levels[10:12] = torch.tensor([torch.iinfo(torch.int64).min, 1])  # of NaN, and none
    feats = [torch.ones(1, 3, 6, 8)]
    pooled, (gradient,) = pool(backend, device, feats, rois, levels, [4], rule=rule)
    assert not pooled[:12].any()
    torch.testing.assert_close(pooled[12], torch.ones(3, 2, 2))
    (alone,) = by_torchvision(feats, rois[12:], levels[12:], [4], rule=rule)[1]
    assert gradient.isfinite().all() and alone.any()
    assert torch.equal(gradient != 0, alone != 0)


@BACKENDS
@pytest.mark.parametrize('images, count', [(2, 0), (0, 0)])
def test_nothing_to_pool(device, backend, images, count):
    feats = pyramid(images=images)
    nothing = torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64)
    pooled, gradients = pool(backend, device, feats, *nothing)
    assert pooled.shape == (0, CHANNELS, 2, 2)
    for gradient, level in zip(gradients, feats, strict=True):
        assert gradient.shape == level.shape and not gradient.any()


@BACKENDS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(device, backend, dtype):
    """Positions, shares and sums are float32, also where features have few bits."""
    feats, (rois, levels) = [level.to(dtype) for level in pyramid()], regions(4)
    pooled, gradients = pool(backend, device, feats, rois, levels)
    full = [level.float() for level in feats]
    expected, expected_gradients = by_torchvision(full, rois, levels)
    error = torch.finfo(dtype).eps
    assert pooled.dtype == gradients[0].dtype == dtype
    assert_equal(pooled.float(), expected, error)
    for found, one in zip(gradients, expected_gradients, strict=True):
        assert_equal(found.float(), one, 4 * error)


def test_float64_is_not_summed_in_float32(device):
    feats = [level.double() for level in pyramid(strides=[16])]
    rois, _ = regions(3)
    given = feats, rois.double(), torch.zeros(3, dtype=torch.int64), [16]
    found, expected = pool('cuda', device, *given), by_torchvision(*given)
    assert found[0].dtype == torch.float64
    assert_equal(found, expected, 1e-12)


def test_the_gradient_is_the_same_in_every_run(device):
    """Nothing is added atomically, and nothing stays as it was allocated."""
    given = pyramid(), *regions(4)
    first = pool('cuda', device, *given)
    torch.use_deterministic_algorithms(True)  # what is allocated holds NaN
    try:
        second = pool('cuda', device, *given)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(first, second, atol=0, rtol=0)


@OPERATORS
def test_are_sound_operators(device, backend):
    feats = [level.to(device).requires_grad_() for level in pyramid(strides=[16, 32])]
    rois, levels = (tensor.to(device) for tensor in regions(2))
    given = rois, levels % 2
    rule = [1 / 16, 1 / 32], 2, 0, True
    shapes = IMAGES, [6, 3], [8, 4]
    grad = torch.randn(2, CHANNELS, 2, 2, device=device)
    with using(backend):
        torch.library.opcheck(roi_align._align, (feats, *given, *rule))
        torch.library.opcheck(
            roi_align._align_backward, (grad, *given, *shapes, rule[0], *rule[2:])
        )


@OPERATORS
def test_a_graph_holds_both(device, backend):
    feats, (rois, levels) = pyramid(strides=[16, 32]), regions(4)
    given = feats, rois, levels % 2, [16, 32]
    expected = pool(backend, device, *given)
    whole = torch.compile(pyramid_roi_align, backend='aot_eager', fullgraph=True)
    feats = [level.to(device).requires_grad_() for level in feats]
    with using(backend):
        pooled = whole(
            feats, rois.to(device), (levels % 2).to(device), [16, 32], output_size=2
        )
        pooled.backward(gradient_of(pooled))
    assert_equal((pooled.cpu(), [level.grad.cpu() for level in feats]), expected, 0)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_card_that_is_not_there_is_not_asked(dtype, monkeypatch):
    """Shapes, types and memory formats are known without running anything."""
    monkeypatch.setattr(roi_align, '_self_check', pytest.fail)
    with FakeTensorMode():
        feats = [
            torch.empty(
                2, 8, size, size, dtype=dtype, device='cuda', requires_grad=True
            )
            for size in (16, 8)
        ]
        rois = torch.empty(5, 5, device='cuda')
        levels = torch.empty(5, dtype=torch.int64, device='cuda')
        pooled = pyramid_roi_align(feats, rois, levels, [4, 8], output_size=7)
        gradients = roi_align._align_backward(
            pooled, rois, levels, 2, [16, 8], [16, 8], [1 / 4, 1 / 8], 0, True
        )
    assert pooled.requires_grad and pooled.device.type == 'cuda'
    assert pooled.shape == (5, 8, 7, 7) and pooled.dtype == dtype
    for gradient, level in zip(gradients, feats, strict=True):
        assert gradient.shape == level.shape and gradient.dtype == dtype
        assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_the_kernels_check_themselves(device, monkeypatch):
    from mmfrcnn.ops.roi_align import cuda

    cuda.self_check(device)
    monkeypatch.setattr(cuda.reference, 'align', lambda *given: cuda.align(*given) + 1)
    with pytest.raises(AssertionError, match='not close'):
        cuda.self_check(device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_a_card_chooses_the_kernels():
    given = pyramid(), *regions(8)
    feats = [level.cuda() for level in given[0]]
    assert roi_align._chosen(feats[0]).__name__.endswith('cuda')
    found = pyramid_roi_align(
        feats, *(t.cuda() for t in given[1:]), STRIDES, output_size=2
    )
    assert_equal(found.cpu(), by_torchvision(*given)[0])
