"""Where tiles lie: they cover every pixel, overlap as asked, and cut what is there."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmengine.registry import init_default_scope

from mmfrcnn.data.transforms.tiles import tile_places


@pytest.mark.parametrize('seed', range(30))
def test_tiles_cover_the_image_and_overlap(seed):
    random = np.random.default_rng(seed)
    image, tile = random.integers(20, 300, 2), random.integers(10, 100, 2)
    overlap = float(random.choice([0, 0.1, 0.25, 0.5]))
    places = tile_places(tuple(image), tuple(tile), overlap)
    if (image <= tile).all():
        assert len(places) == 0
        return
    seen = np.zeros(image[::-1], int)
    for x1, y1, x2, y2 in places:
        assert x1 >= 0 and y1 >= 0 and x2 <= image[0] and y2 <= image[1]
        assert [x2 - x1, y2 - y1] == np.minimum(image, tile).tolist()
        seen[y1:y2, x1:x2] += 1
    assert seen.min() >= 1
    for side in (0, 1):
        gaps = np.diff(np.unique(places[:, side]))
        step = tile[side] * (1 - overlap)
        assert len(gaps) == 0 or gaps.max() <= step + 1  # of a whole pixel
        # No more tiles than that takes.
        least = np.ceil(max(image[side] - tile[side], 0) / step - 1e-9)
        assert len(gaps) == least


def test_an_image_of_a_tile_or_less_is_left_whole():
    assert tile_places((100, 80), (100, 80), 0.2).shape == (0, 4)
    assert tile_places((1, 1), (100, 80), 0.2).shape == (0, 4)
    assert len(tile_places((101, 80), (100, 80), 0)) == 2


def test_items_are_the_whole_and_its_parts():
    init_default_scope('mmdet')
    packing = dict(type='PackDetInputs', meta_keys=('img_id', 'ori_shape', 'img_shape'))
    load = dict(type='LoadAnnotations', with_bbox=True)
    cut = TRANSFORMS.build(
        dict(type='CutTiles', size=(40, 30), overlap=0.25, transforms=[load, packing])
    )
    image = np.arange(70 * 50 * 3).reshape(50, 70, 3).astype(np.uint8)
    instance = dict(bbox=[1, 2, 30, 40], bbox_label=3, ignore_flag=0)
    results = dict(img=image, img_id=7, img_shape=(50, 70), ori_shape=(50, 70))
    packed = cut({**results, 'instances': [instance]})
    tiles, sample = packed['inputs'], packed['data_samples']
    assert len(tiles.items) == 1 + len(tiles.places) == 5
    assert sample.gt_instances.bboxes.tensor.tolist() == [[1, 2, 30, 40]]
    for item, (x1, y1, x2, y2) in zip(tiles.items[1:], tiles.places, strict=True):
        part = item['inputs'].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(part, image[y1:y2, x1:x2])
        assert item['data_samples'].ori_shape == (30, 40)
        assert len(item['data_samples'].gt_instances) == 0
    assert results['img'] is image  # untouched
