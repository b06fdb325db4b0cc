"""What RoIAlign launches, reads and writes, as a function of its sizes: by count."""

from __future__ import annotations

import math
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from mmfrcnn_benchmark.fake_device import fake_device
from mmfrcnn_benchmark.traffic import Traffic
from torch._subclasses.fake_tensor import FakeTensorMode

from mmfrcnn.ops.backend import using
from mmfrcnn.ops.roi_align import pyramid_roi_align, reference

from .test_roi_align import HEIGHT, WIDTH, pyramid, regions, shares


def features_touched(rois, levels, strides, size, ratio):
    """Count, for each region, pairs of a cell and a feature that weighs in it."""
    counts = []
    for roi, level in zip(rois, levels.tolist(), strict=True):
        axes = [
            shares(
                roi[1 + axis] / strides[level],
                roi[3 + axis] / strides[level],
                (WIDTH, HEIGHT)[axis] // strides[level],
                size,
                ratio,
                True,
            )
            for axis in (0, 1)
        ]
        counts.append(math.prod(int((axis != 0).sum()) for axis in axes))
    return counts


# On a processor: feature vectors gathered, each of C values.


@pytest.fixture
def gathered(monkeypatch):
    """Return a counter of the feature vectors that regions gather on a processor."""
    bag = F.embedding_bag

    def count(feats, rois, levels, strides, *, size, ratio):
        tables, found = [], 0

        def counted(index, table, *args, **kwargs):
            nonlocal found
            found += len(index)
            tables.append(table)
            return bag(index, table, *args, **kwargs)

        monkeypatch.setattr(F, 'embedding_bag', counted)
        pyramid_roi_align(
            feats, rois, levels, strides, output_size=size, sampling_ratio=ratio
        )
        return found, tables

    return count


@pytest.mark.parametrize('ratio', [0, 2])
def test_a_processor_reads_each_feature_once_a_cell(gathered, ratio):
    rois, levels = regions(64)
    strides = (4, 8, 16, 32)
    given = rois, levels, strides
    found, tables = gathered(pyramid(), *given, size=7, ratio=ratio)
    assert found == sum(features_touched(*given, 7, ratio))
    assert len(tables) == 4


@pytest.mark.parametrize('ratio, live', [(0, 0.45), (2, 0.53)])
def test_what_is_dead_of_four_corners_a_point(gathered, ratio, live):
    """Of regions of 4 to 28 features a side, as a pyramid's levels get them."""
    generator = torch.Generator().manual_seed(4)
    side = 4 * 7 ** torch.rand(500, 2, generator=generator)
    corner = torch.rand(500, 2, generator=generator) * 36
    rois = torch.cat([torch.zeros(500, 1), corner, corner + side], 1)
    feats, levels = [torch.zeros(1, 1, 64, 64)], torch.zeros(500, dtype=torch.int64)
    found, _ = gathered(feats, rois, levels, [1], size=7, ratio=ratio)
    points = torch.full_like(side, ratio) if ratio else (side / 7).ceil()
    assert found / float(49 * 4 * points.prod(1).sum()) == pytest.approx(live, abs=0.01)


def test_maps_that_are_channels_last_are_not_copied(gathered):
    feats = [level.to(memory_format=torch.channels_last) for level in pyramid()]
    _, tables = gathered(feats, *regions(8), (4, 8, 16, 32), size=2, ratio=0)
    assert [t.data_ptr() for t in tables] == [level.data_ptr() for level in feats]


# On a card: launches, and what the kernels read and write.

LARGE = [(200, 336), (100, 168), (50, 84), (25, 42)]


def without_values(images, count, num_levels):
    """Return maps of 800 x 1,344 px in bfloat16, regions and their levels."""
    feats = [
        torch.empty(images, 256, *size, dtype=torch.bfloat16).to(
            memory_format=torch.channels_last
        )
        for size in LARGE[:num_levels]
    ]
    return feats, torch.empty(count, 5), torch.empty(count, dtype=torch.int64)


@pytest.fixture
def launched(kernel_device, monkeypatch):
    """Return a list of the grids that the kernels, which do not run, are given."""
    from mmfrcnn.ops.roi_align import cuda

    grids = []

    class Grid:
        def __getitem__(self, grid):
            return lambda *args, **options: grids.append(grid)

    monkeypatch.setattr(cuda, 'align_kernel', Grid())
    monkeypatch.setattr(cuda, 'backward_kernel', Grid())
    return grids


@pytest.mark.parametrize('num_levels', [1, 4])
@pytest.mark.parametrize('images, count', [(1, 512), (16, 8192)])
def test_launches(launched, images, count, num_levels):
    from mmfrcnn.ops.roi_align import cuda

    scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32][:num_levels]
    heights, widths = zip(*LARGE[:num_levels], strict=True)
    with FakeTensorMode():
        feats, rois, levels = without_values(images, count, num_levels)
        with Traffic() as forth:
            pooled = cuda.align(feats, rois, levels, scales, 7, 0, True)
        shapes = images, heights, widths
        grad = pooled.to(memory_format=torch.channels_last)
        with Traffic() as back:
            cuda.align_backward(grad, rois, levels, *shapes, scales, 0, True)
    assert len(launched) == 2  # one for all levels, forth and back
    # Forth no operator moves anything: what is allocated is what comes out.
    result = count * 256 * 49 * 2
    assert (forth.launches, forth.peak) == (1, result)
    # Back the regions are sorted; beside the maps only lists of them are held.
    maps = sum(level.numel() for level in feats) * 2
    assert back.launches <= 20 + num_levels
    assert maps <= back.peak <= maps + 200 * (count + 64)


@pytest.mark.parametrize('backend', ['cuda', 'reference'])
def test_the_host_waits_for_nothing(launched, monkeypatch, backend):
    """No copy either way, no shape that depends on data: sizes are known."""
    from mmfrcnn.ops.roi_align import cuda

    monkeypatch.setattr(torch.cuda, 'device_of', lambda tensor: nullcontext())
    run = cuda if backend == 'cuda' else reference
    scales, (heights, widths) = [1 / 4, 1 / 8], zip(*LARGE[:2], strict=True)
    with fake_device() as device, torch.device('cuda'):
        feats, rois, levels = without_values(2, 1024, 2)
        pooled = run.align(feats, rois, levels, scales, 7, 0, True)
        grads = run.align_backward(
            pooled, rois, levels, 2, heights, widths, scales, 0, True
        )
    assert not device.waits and not device.copies and device.total > 0
    assert {tensor.device.type for tensor in (pooled, *grads)} == {'cuda'}


def test_launches_of_plain_operators_grow_with_the_levels(kernel_device):
    """Every region on every level: L passes, and L - 1 sums in float32."""
    traffic = {}
    for num_levels in (1, 4):
        with FakeTensorMode(), Traffic() as traffic[num_levels]:
            given = without_values(16, 8192, num_levels)
            reference.align(*given, [1.0] * num_levels, 7, 0, True)
    result = 8192 * 256 * 49 * 4
    assert traffic[4].launches - traffic[1].launches >= 3 * 5
    assert traffic[4].moved - traffic[1].moved >= 3 * 4 * result


@pytest.fixture
def moved(kernel_device, monkeypatch):
    """Return bytes that the kernels load and store, by element type, interpreted."""
    if kernel_device.type != 'cpu':
        pytest.skip('counts in the interpreter')
    from triton.runtime.interpreter import InterpreterBuilder as Builder

    loaded, stored = {}, {}
    load, store = Builder.create_masked_load, Builder.create_masked_store

    def counted(count, pointers, mask):
        element = pointers.get_element_ty()
        size = element.primitive_bitwidth // 8 * int(mask.data.sum())
        count[str(element)] = count.get(str(element), 0) + size

    def counted_load(builder, pointers, mask, *rest):
        counted(loaded, pointers, mask)
        return load(builder, pointers, mask, *rest)

    def counted_store(builder, pointers, value, mask, *rest):
        counted(stored, pointers, mask)
        return store(builder, pointers, value, mask, *rest)

    monkeypatch.setattr(Builder, 'create_masked_load', counted_load)
    monkeypatch.setattr(Builder, 'create_masked_store', counted_store)
    return loaded, stored


@pytest.mark.parametrize('ratio', [0, 2])
def test_bytes_of_the_forward_pass(moved, ratio):
    """A feature once a cell that it weighs in, and the result once."""
    loaded, stored = moved
    rois, levels = regions(6)
    given = rois, levels, (4, 8, 16, 32)
    feats = [level.half() for level in pyramid()]
    with using('cuda'):
        pyramid_roi_align(feats, *given, output_size=3, sampling_ratio=ratio)
    channels = feats[0].shape[1]
    assert loaded['fp16'] == sum(features_touched(*given, 3, ratio)) * channels * 2
    assert stored == {'fp16': 6 * channels * 3 * 3 * 2}


def test_bytes_of_the_backward_pass(moved):
    """A cell once for each tile that it touches, and every feature once."""
    loaded, stored = moved
    rois, levels = regions(6)
    feats = [level.half().requires_grad_() for level in pyramid()]
    with using('cuda'):
        pooled = pyramid_roi_align(feats, rois, levels, (4, 8, 16, 32), output_size=2)
        for count in moved:
            count.clear()
        pooled.sum().backward()
    assert stored == {'fp16': sum(level.numel() for level in feats) * 2}
    # A cell of up to 3 features, and one around it, lies on 4 tiles of 8 at most.
    assert pooled.numel() * 2 <= loaded['fp16'] <= 4 * pooled.numel() * 2
