"""The augmentation configs on real pictures: boxes inside, whole, and tight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import Rotate
from mmdet.registry import DATASETS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import PolygonMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from mmfrcnn.data.transforms.rotation import TightRotate

CONFIGS = sorted(Path(__file__).parents[2].glob('configs/augmentation/*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem.split('_')[3])
def test_boxes_stay_inside_and_have_area_on_real_pictures(path, real_data):
    folder = real_data('coco_tiny50')
    init_default_scope('mmdet')
    config = Config.fromfile(str(path))
    plain = config.train_dataloader.dataset
    plain = plain.get('dataset', plain)
    plain.data_root = str(folder) + '/'
    plain.indices = 12
    dataset = DATASETS.build(config.train_dataloader.dataset)
    set_random_seed(0)
    sizes, num_boxes = set(), 0
    for index in range(12):
        packed = dataset[index]
        image, sample = packed['inputs'], packed['data_samples']
        height, width = image.shape[1:]
        assert sample.img_shape[:2] == (height, width)
        sizes.add((height, width))
        found = sample.gt_instances
        assert len(found.labels) == len(found.bboxes)
        boxes = torch.cat([found.bboxes.tensor, sample.ignored_instances.bboxes.tensor])
        num_boxes += len(found.bboxes)
        assert torch.isfinite(boxes).all() and (boxes >= 0).all()
        assert (boxes[:, 0::2] <= width).all() and (boxes[:, 1::2] <= height).all()
        assert (boxes[:, 2:] - boxes[:, :2]).gt(0).all()
    assert num_boxes > 20


def test_there_is_a_config_for_each_kind():
    names = {path.stem.split('_')[3] for path in CONFIGS}
    assert {'flips', 'rotate', 'jitter', 'lsj', 'crop', 'photometric'} < names
    assert {'mosaic', 'mixup'} < names


def outlined(points: np.ndarray, size=(200, 160)) -> dict:
    """One object with an outline, in the middle of an image."""
    box = torch.tensor([[*points.min(axis=0), *points.max(axis=0)]]).float()
    width, height = size
    return {
        'img': np.zeros((height, width, 3), np.uint8),
        'img_shape': (height, width),
        'gt_bboxes': HorizontalBoxes(box),
        'gt_masks': PolygonMasks([[points.reshape(-1).astype(float)]], height, width),
    }


def turn(transform, results: dict, degrees: float) -> np.ndarray:
    transform._get_mag = lambda: degrees
    return transform(results)['gt_bboxes'].tensor[0].numpy()


@pytest.mark.parametrize('degrees', [-45, -10, 0, 30, 90])
def test_outlines_give_the_box_of_the_turned_outline(degrees):
    """Against each point turned by hand, clockwise in the image's frame."""
    rng = np.random.default_rng(degrees + 100)
    points = rng.uniform(60, 110, (9, 2))
    radians = np.deg2rad(degrees)
    centre = np.array([199 / 2, 159 / 2])
    cos, sin = np.cos(radians), np.sin(radians)
    offsets = points - centre
    turned = centre + np.stack(
        [
            cos * offsets[:, 0] - sin * offsets[:, 1],
            sin * offsets[:, 0] + cos * offsets[:, 1],
        ],
        axis=1,
    )
    expected = [*turned.min(axis=0), *turned.max(axis=0)]
    box = turn(TightRotate(), outlined(points), degrees)
    np.testing.assert_allclose(box, expected, atol=1e-3)
    loose = turn(Rotate(), outlined(points), degrees)
    assert (box[:2] >= loose[:2] - 1e-3).all() and (box[2:] <= loose[2:] + 1e-3).all()
    if degrees % 90:
        assert np.prod(box[2:] - box[:2]) < 0.97 * np.prod(loose[2:] - loose[:2])


@pytest.mark.parametrize('degrees', [-45, 10, 30, 45, 90])
def test_without_an_outline_the_box_holds_whatever_fills_it(degrees):
    """A drawn square, turned, with a box alone: all its pixels stay in the box."""
    results = outlined(np.array([[80, 60], [120, 60], [120, 100], [80, 100]]))
    results['img'][60:100, 80:120] = 255
    del results['gt_masks']
    box = turn(TightRotate(img_border_value=0), results, degrees)
    where = np.argwhere(results['img'][..., 0] > 127)
    pixels = [*where.min(axis=0)[::-1], *where.max(axis=0)[::-1]]
    np.testing.assert_allclose(box, pixels, atol=2)


def test_images_without_objects_turn_as_well():
    results = outlined(np.array([[0.0, 0], [1, 1], [2, 0]]))
    results['gt_bboxes'] = HorizontalBoxes(torch.zeros(0, 4))
    results['gt_masks'] = PolygonMasks([], 160, 200)
    assert len(TightRotate()(results)['gt_bboxes']) == 0
