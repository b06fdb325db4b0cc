"""`PyramidRoIExtractor` against mmdet's extractor and torchvision's pooling."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from mmdet.registry import MODELS

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.roi_extractor import PyramidRoIExtractor
from mmfrcnn.ops.backend import using

STRIDES = (4, 8, 16, 32)
ALIGN = dict(type='RoIAlign', output_size=7, sampling_ratio=0)
LAYERS = (
    ALIGN,
    dict(type='RoIAlign', output_size=7, sampling_ratio=2),
    dict(type='RoIAlign', output_size=5, sampling_ratio=0, aligned=False),
    dict(type='RoIAlign', output_size=1, sampling_ratio=3, aligned=False),
    dict(type='RoIPool', output_size=7),
)


def all_levels_see_all(extractor):
    """Pool as devices do that a layout which depends on the data would make wait."""

    def forward(*args):
        with using('reference'):
            return extractor(*args)

    return forward


def make(layer, **kwargs):
    return PyramidRoIExtractor(layer, 6, list(STRIDES), **kwargs)


def reference(layer, feats, rois):
    """Each region by itself with torchvision's pooling, level by the paper's rule."""
    layer = dict(layer)
    kind = layer.pop('type')
    if kind == 'RoIAlign':
        layer.setdefault('aligned', True)
        function = torchvision.ops.roi_align
    else:
        function = torchvision.ops.roi_pool
    pooled = []
    for roi in rois:
        _, x1, y1, x2, y2 = roi.tolist()
        size = math.sqrt(max(0.0, (x2 - x1) * (y2 - y1)))
        level = math.floor(4 + math.log2(size / 224)) if size else 0
        level = min(max(level, 2), 5) - 2
        scale = 1 / STRIDES[level]
        pooled.append(function(feats[level], roi[None], spatial_scale=scale, **layer))
    return torch.cat(pooled)


@pytest.fixture(params=LAYERS, ids=lambda layer: '-'.join(map(str, layer.values())))
def layer(request):
    return request.param


@pytest.fixture(params=['forward', 'all levels see all'])
def path(request):
    return all_levels_see_all if 'see' in request.param else lambda made: made


def test_equals_torchvision_region_by_region(layer, path, pyramid, rois):
    found = path(make(layer))(pyramid, rois)
    torch.testing.assert_close(
        found, reference(layer, pyramid, rois), atol=1e-5, rtol=1e-5
    )


def test_equals_torchvisions_pyramid(path, pyramid):
    generator = torch.Generator().manual_seed(2)
    corners = torch.rand(200, 2, 2, generator=generator).sort(dim=1).values * 250
    boxes = corners.view(4, 50, 4)[:3]
    theirs = torchvision.ops.MultiScaleRoIAlign(['0', '1', '2', '3'], 7, 2)
    feats = {str(level): feature for level, feature in enumerate(pyramid)}
    # torchvision infers the scales from the image size; it has only the unaligned rule.
    expected = theirs(feats, list(boxes), [(192, 256)] * 3)
    image = torch.arange(3.0).view(3, 1, 1).expand(-1, 50, 1)
    rois = torch.cat([image, boxes], -1).view(-1, 5)
    layer = dict(type='RoIAlign', output_size=7, sampling_ratio=2, aligned=False)
    found = path(make(layer))(pyramid, rois)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def gradients(extractor, feats, rois):
    feats = [feature.clone().requires_grad_() for feature in feats]
    pooled = extractor(feats, rois)
    weights = torch.linspace(-1, 1, pooled.numel()).view(pooled.shape)
    (pooled * weights).sum().backward()
    return [feature.grad for feature in feats]


@pytest.mark.parametrize('scale', [None, 1.3, 0.6])
def test_equals_mmdet(layer, pyramid, rois, scale):
    if layer['type'] == 'RoIPool':
        rois = rois[rois[:, 3] > rois[:, 1]]
    ours = make(layer)
    mmdets = MODELS.build(
        dict(
            type='SingleRoIExtractor',
            roi_layer=layer,
            out_channels=6,
            featmap_strides=list(STRIDES),
        )
    )
    assert ours.num_inputs == mmdets.num_inputs
    positive = (rois[:, 3:] > rois[:, 1:3]).all(1)
    assert torch.equal(
        ours.map_roi_levels(rois, 4)[positive], mmdets.map_roi_levels(rois, 4)[positive]
    )
    rois = rois[positive]
    found = ours(pyramid, rois, roi_scale_factor=scale)
    expected = mmdets(tuple(pyramid), rois, roi_scale_factor=scale)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_gradients_equal_mmdets(layer, path, pyramid, rois):
    rois = rois[(rois[:, 3:] > rois[:, 1:3]).all(1)]
    mmdets = MODELS.build(
        dict(
            type='SingleRoIExtractor',
            roi_layer=layer,
            out_channels=6,
            featmap_strides=list(STRIDES),
        )
    )
    ours = gradients(path(make(layer)), pyramid, rois)
    theirs = gradients(lambda feats, rois: mmdets(tuple(feats), rois), pyramid, rois)
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('sampling_ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_gradcheck(path, sampling_ratio, aligned):
    generator = torch.Generator().manual_seed(3)
    feats = [
        torch.randn(2, 1, size, size, generator=generator, dtype=torch.float64)
        for size in (8, 4)
    ]
    feats = [feature.requires_grad_() for feature in feats]
    rois = torch.tensor(
        [[0, 3.0, 2.0, 20.0, 25.0], [1, 1.0, 1.0, 31.0, 30.0], [1, -5, 3, 4, 9]],
        dtype=torch.float64,
    )
    layer = dict(
        type='RoIAlign', output_size=2, sampling_ratio=sampling_ratio, aligned=aligned
    )
    extractor = path(PyramidRoIExtractor(layer, 1, [4, 8], finest_scale=14))
    assert extractor(feats, rois).dtype == torch.float64
    torch.autograd.gradcheck(lambda *feats: extractor(feats, rois), feats)


def test_level_rule_at_its_boundaries():
    extractor = make(ALIGN)
    sizes = [0, 1, 55, 56, 111.9, 112, 223.9, 224, 447.9, 448, 10_000]
    expected = [0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    rois = torch.tensor([[0, 0, 0, size, size] for size in sizes])
    assert extractor.map_roi_levels(rois, 4).tolist() == expected
    wide = torch.tensor([[0.0, 0, 0, 4 * 112, 112 / 4]])  # its area counts
    assert extractor.map_roi_levels(wide, 4).tolist() == [1]
    upside_down = torch.tensor([[0.0, 300, 0, 0, 300]])
    assert extractor.map_roi_levels(upside_down, 4).tolist() == [0]
    finer = make(ALIGN, finest_scale=28)
    assert finer.map_roi_levels(rois, 4).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3]


def test_constant_features_pool_to_the_constant(path):
    feats = [torch.full((1, 6, 192 // s, 256 // s), float(s)) for s in STRIDES]
    rois = torch.tensor(
        [[0, 20, 20, 60, 60], [0, 10, 20, 140, 140], [0, 0, 0, 250, 190.0]]
    )
    pooled = path(make(ALIGN))(feats, rois)
    expected = torch.tensor([4.0, 8.0, 8.0]).view(3, 1, 1, 1).expand(-1, 6, 7, 7)
    torch.testing.assert_close(pooled, expected)


@pytest.mark.parametrize('key', [dict(use_torchvision=True), dict(pool_mode='avg')])
def test_mmcvs_names_of_the_average(pyramid, rois, key):
    assert torch.equal(
        make({**ALIGN, **key})(pyramid, rois), make(ALIGN)(pyramid, rois)
    )


def test_a_maximum_is_refused():
    with pytest.raises(UserError, match='pool_mode'):
        make({**ALIGN, 'pool_mode': 'max'})


@pytest.mark.parametrize('count', [0, 1])
def test_few_regions(layer, path, pyramid, count):
    rois = torch.tensor([[1.0, 3.0, 4.0, 50.0, 60.0]])[:count]
    feats = [feature.requires_grad_() for feature in pyramid]
    pooled = path(make(layer))(feats, rois)
    assert pooled.shape == (count, 6, layer['output_size'], layer['output_size'])
    pooled.sum().backward()
    assert all(feature.grad is not None for feature in feats)
    assert all(torch.isfinite(feature.grad).all() for feature in feats)


def test_only_regions_without_extent(path, pyramid):
    feats = [feature.requires_grad_() for feature in pyramid]
    rois = torch.tensor([[0, 5.0, 5.0, 5.0, 5.0], [2, 0.0, 0.0, 0.0, 0.0]])
    pooled = path(make(ALIGN))(feats, rois)
    assert not pooled.any()
    pooled.sum().backward()
    assert not any(feature.grad.any() for feature in feats)


@pytest.mark.parametrize('layer', LAYERS[:4], ids=str)
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_regions_that_are_no_numbers_pool_nothing(layer, path, pyramid, rois, value):
    """Where a training diverges it is a loss that says so, not an index."""
    expected = path(make(layer))(pyramid, rois)
    generator = torch.Generator().manual_seed(5)
    hit = torch.rand(len(rois), 4, generator=generator) < 0.1
    rois[:, 1:].masked_fill_(hit, value)
    pooled = path(make(layer))(pyramid, rois)
    finite = rois.isfinite().all(1)
    assert not finite.all() and not pooled[~finite].any()
    assert torch.equal(pooled[finite], expected[finite])


@pytest.mark.parametrize('layer', LAYERS[:2] + LAYERS[4:], ids=str)
def test_one_level(layer, path, pyramid, rois):
    extractor = PyramidRoIExtractor(layer, 6, [16])
    mmdets = MODELS.build(
        dict(
            type='SingleRoIExtractor',
            roi_layer=layer,
            out_channels=6,
            featmap_strides=[16],
        )
    )
    rois = rois[(rois[:, 3:] > rois[:, 1:3]).all(1)]
    found = path(extractor)([pyramid[2]], rois)
    torch.testing.assert_close(found, mmdets([pyramid[2]], rois), atol=1e-5, rtol=1e-5)


def test_regions_get_no_gradient(path, pyramid, rois):
    """As with torchvision's pooling: boxes learn from box targets alone."""
    rois = rois.requires_grad_()
    feats = [feature.requires_grad_() for feature in pyramid]
    path(make(ALIGN))(feats, rois).sum().backward()
    assert rois.grad is None or not rois.grad.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(path, pyramid, rois, dtype):
    """Features are rounded, positions are not."""
    half = [feature.to(dtype) for feature in pyramid]
    found = path(make(ALIGN))(half, rois)
    assert found.dtype == dtype
    expected = make(ALIGN)([feature.float() for feature in half], rois)
    error = (found.float() - expected).abs().max()
    assert error < (2e-3 if dtype == torch.float16 else 2e-2)


def test_under_autocast(path, pyramid, rois):
    expected = make(ALIGN)(pyramid, rois)
    with torch.autocast('cpu', torch.bfloat16):
        found = path(make(ALIGN))(pyramid, rois)
        half = [feature.to(torch.bfloat16).requires_grad_() for feature in pyramid]
        rounded = path(make(ALIGN))(half, rois)
    torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rounded.float(), expected, atol=5e-2, rtol=5e-2)
    rounded.float().sum().backward()
    assert all(torch.isfinite(feature.grad).all() for feature in half)


def test_long_regions_take_little_memory():
    """A region of 1,300 x 4 px asks for many points along one axis, not along both."""
    feats = [torch.zeros(1, 8, 800 // s, 1344 // s) for s in STRIDES]
    rois = torch.tensor([[0.0, 0.0, 0.0, 1300.0, 4.0]]).repeat(500, 1)
    rois[:, 1:] += torch.arange(500.0)[:, None] * torch.tensor([0.0, 1.0, 0.0, 1.0])
    largest = 0

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel() * out.element_size())
            return out

    with Largest():
        make(ALIGN)(feats, rois)
    # 500 regions x 49 cells x 47 x 1 points x 4 corners x 8 bytes.
    assert largest <= 500 * 49 * 47 * 4 * 8


@pytest.mark.parametrize(
    'layer, words',
    [
        (dict(type='RoIAlgn'), ["'RoIAlgn'", "Did you mean 'RoIAlign'?"]),
        (dict(type='PrRoIPool'), ['PrRoIPool', 'SingleRoIExtractor']),
        (
            dict(type='RoIAlign', output_sizes=7),
            ['output_sizes', "Did you mean 'output_size'?"],
        ),
        (dict(type='RoIPool', sampling_ratio=2), ['sampling_ratio', 'RoIPool']),
        (dict(type='RoIAlign', output_size=(7, 5)), ['output_size', '(7, 5)']),
    ],
)
def test_wrong_layers_are_named(layer, words):
    with pytest.raises(UserError) as error:
        make(layer)
    assert all(word in str(error.value) for word in words)


def test_a_layer_without_a_type():
    with pytest.raises(UserError, match='type'):
        make(dict(output_size=7))


def test_built_from_a_config_that_stays_as_it_was():
    config = dict(
        type='PyramidRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=(7, 7), sampling_ratio=0),
        out_channels=6,
        featmap_strides=[4, 8, 16, 32],
    )
    before = repr(config)
    extractor = MODELS.build(config)
    assert repr(config) == before
    assert not list(extractor.parameters())
    assert not extractor.state_dict()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu(layer, pyramid, rois):
    extractor = make(layer)
    here = extractor(pyramid, rois)
    there = extractor([feature.cuda() for feature in pyramid], rois.cuda())
    torch.testing.assert_close(there.cpu(), here, atol=1e-5, rtol=1e-5)
    ours = gradients(extractor, pyramid, rois)
    feats = [feature.cuda().requires_grad_() for feature in pyramid]
    pooled = extractor(feats, rois.cuda())
    weights = torch.linspace(-1, 1, pooled.numel()).view(pooled.shape)
    (pooled * weights.cuda()).sum().backward()
    for found, expected in zip(feats, ours, strict=True):
        torch.testing.assert_close(found.grad.cpu(), expected, atol=1e-4, rtol=1e-4)
