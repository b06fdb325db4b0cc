"""The anchor grid against mmdet's generator, validity flags and border rule."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.task_modules.prior_generators import (
    AnchorGenerator,
    anchor_inside_flags,
)

from mmfrcnn.modeling import anchors as grid
from mmfrcnn.modeling.anchors import AnchorGrid
from mmfrcnn.structures.image_batch import ImageBatch

CPU = torch.device('cpu')


def fpn_anchors():
    return AnchorGenerator(
        strides=[4, 8, 16, 32, 64], scales=[8], ratios=[0.5, 1.0, 2.0]
    )


def paper_anchors():
    return AnchorGenerator(strides=[16], scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0])


def feature_sizes(generator, height, width):
    return [(-(-height // y), -(-width // x)) for x, y in generator.strides]


@pytest.mark.parametrize('make', [fpn_anchors, paper_anchors])
def test_boxes_and_order_are_mmdets(make):
    generator = make()
    sizes = feature_sizes(generator, 200, 333)
    found = grid.AnchorGridCache(generator)(sizes, CPU)
    levels = generator.grid_priors(sizes, device='cpu')
    assert torch.equal(found.boxes, torch.cat(levels))
    assert found.sizes == [len(level) for level in levels]
    assert len(found.cells) == len(found.ids) == len(found.boxes)


@pytest.mark.parametrize('make', [fpn_anchors, paper_anchors])
@pytest.mark.parametrize('border', [-1, 0, 8, 64])
def test_valid_anchors_are_mmdets(make, border):
    generator = make()
    metas = [
        dict(img_shape=(200, 320), pad_shape=(224, 320)),
        dict(img_shape=(100, 90), pad_shape=(128, 96)),
        dict(img_shape=(256, 256), pad_shape=(256, 256)),
        dict(img_shape=(7, 5), pad_shape=(7, 5)),
    ]
    sizes = feature_sizes(generator, 256, 320)
    anchors = grid.AnchorGridCache(generator)(sizes, CPU)
    images = ImageBatch(metas, CPU)
    mask = anchors.valid(images.padded_sizes, images.sizes, border)
    for image, meta in enumerate(metas):
        flags = torch.cat(generator.valid_flags(sizes, meta['pad_shape'], 'cpu'))
        expected = anchor_inside_flags(
            anchors.boxes, flags, meta['img_shape'], allowed_border=border
        )
        assert torch.equal(mask[image], expected)
    assert mask.any()
    assert not mask.all()


@pytest.mark.parametrize('border', [0, 3])
def test_whether_any_anchor_is_inside_is_what_the_mask_says(border):
    """Anchors of 16 x 16 px whose sides lie on whole pixels: an edge does not count."""
    generator = AnchorGenerator(strides=[8], scales=[2], ratios=[1.0])
    anchors = grid.AnchorGridCache(generator)([(8, 8)], CPU)
    found = {}
    for size in [(side, 64) for side in range(1, 33)] + [(64, s) for s in range(1, 33)]:
        sizes = torch.tensor([size], dtype=torch.float32)
        found[size] = anchors.any_inside(size, border)
        assert found[size] == bool(anchors.valid(None, sizes, border).any()), size
    assert set(found.values()) == {True, False}


def test_nothing_to_exclude_is_no_mask():
    generator = fpn_anchors()
    anchors = grid.AnchorGridCache(generator)(feature_sizes(generator, 64, 64), CPU)
    assert anchors.valid(None, None, -1) is None
    inside = torch.tensor([[64.0, 64.0]])
    assert anchors.valid(None, inside, -1) is None
    assert anchors.valid(None, inside, 0).shape == (1, len(anchors.boxes))


@pytest.mark.parametrize('make', [fpn_anchors, paper_anchors])
def test_ids_name_the_same_anchor_in_grids_of_any_size(make):
    generator = make()
    cache = grid.AnchorGridCache(generator)
    small = cache(feature_sizes(generator, 128, 192), CPU)
    large = cache(feature_sizes(generator, 320, 256), CPU)
    assert len(small.ids.unique()) == len(small.ids)
    assert len(large.ids.unique()) == len(large.ids)
    places = {int(name): place for place, name in enumerate(large.ids)}
    shared = [
        (place, places[int(name)])
        for place, name in enumerate(small.ids)
        if int(name) in places
    ]
    assert len(shared) == len(small.ids)  # 128x192 lies within 320x256
    here, there = (torch.tensor(side) for side in zip(*shared, strict=True))
    assert torch.equal(small.boxes[here], large.boxes[there])


def test_ids_are_distinct_and_bounded_on_a_large_image():
    generator = fpn_anchors()
    sizes = feature_sizes(generator, 800, 1344)
    ids = grid.AnchorGridCache(generator)(sizes, CPU).ids
    assert len(ids.unique()) == len(ids)
    assert ids.min() >= 0
    assert ids.max() < 1 << 30


def test_one_grid_a_shape():
    generator = fpn_anchors()
    cache = grid.AnchorGridCache(generator)
    sizes = feature_sizes(generator, 64, 96)
    first = cache(sizes, CPU)
    assert isinstance(first, AnchorGrid)
    assert cache(list(sizes), CPU) is first
    assert cache([torch.Size(size) for size in sizes], CPU) is first
    assert cache(feature_sizes(generator, 96, 64), CPU) is not first
    assert cache(sizes, CPU) is first


def test_the_least_recently_used_grid_is_dropped(monkeypatch):
    monkeypatch.setattr(grid, 'GRIDS_KEPT', 3)
    generator = paper_anchors()
    cache = grid.AnchorGridCache(generator)
    kept = cache([(1, 1)], CPU)
    for width in range(2, 12):
        cache([(1, width)], CPU)
        assert cache([(1, 1)], CPU) is kept
    assert len(cache._grids) == 3


def test_a_grid_made_in_inference_mode_can_be_trained_with():
    generator = paper_anchors()
    cache = grid.AnchorGridCache(generator)
    with torch.inference_mode():
        cache([(4, 4)], CPU)
    boxes = cache([(4, 4)], CPU).boxes
    deltas = torch.zeros_like(boxes, requires_grad=True)
    (boxes * deltas).sum().backward()
    assert torch.equal(deltas.grad, boxes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_grid_equals_cpu():
    generator = fpn_anchors()
    cache = grid.AnchorGridCache(generator)
    sizes = feature_sizes(generator, 128, 192)
    here, there = cache(sizes, CPU), cache(sizes, torch.device('cuda', 0))
    assert torch.equal(here.boxes, there.boxes.cpu())
    assert torch.equal(here.ids, there.ids.cpu())
