"""Merging what tiles show, with a detector whose finds are exact: bright rectangles."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn

from mmfrcnn.deploy.tiled import TiledDetector, use_tiles
from mmfrcnn.errors import UserError


class Bright(nn.Module):
    """Finds what is bright in an image, exactly: grey of 100 and of 200, 2 classes."""

    with_mask = False
    test_cfg = ConfigDict(
        rcnn=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
    )

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def test_step(self, data):
        self.batches.append(len(data['inputs']))
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            grey = image[0].numpy()
            boxes, labels = [], []
            for label, value in enumerate((100, 200)):
                parts = cv2.connectedComponentsWithStats(
                    (grey == value).astype('uint8')
                )
                for x, y, w, h, _ in parts[2][1:]:
                    boxes.append([x, y, x + w, y + h])
                    labels.append(label)
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                scores=torch.linspace(1, 0.5, len(boxes)),
                labels=torch.tensor(labels, dtype=torch.int64),
            )
        return data['data_samples']


def draw(seed: int, count: int, sides: tuple[int, int], size=(640, 480)):
    """Draw rectangles that do not touch; return the image, and boxes by class."""
    random = np.random.default_rng(seed)
    image, taken = np.zeros((size[1], size[0], 3), np.uint8), np.zeros(size[::-1], bool)
    boxes: list[tuple[int, ...]] = []
    while len(boxes) < count:
        w, h = random.integers(*sides, 2)
        x, y = random.integers(0, size[0] - w), random.integers(0, size[1] - h)
        around = taken[max(y - 1, 0) : y + h + 1, max(x - 1, 0) : x + w + 1]
        if not around.any():
            label = int(random.integers(2))
            image[y : y + h, x : x + w] = (100, 200)[label]
            taken[y : y + h, x : x + w] = True
            boxes.append((label, x, y, x + w, y + h))
    return image, sorted(boxes)


def detect(images, size=(160, 120), overlap=0.25, batch_size=8):
    init_default_scope('mmdet')
    packing = dict(type='PackDetInputs', meta_keys=('img_id', 'ori_shape', 'img_shape'))
    cut = dict(type='CutTiles', size=size, overlap=overlap, transforms=[packing])
    pipeline, module = Compose([cut]), Bright()
    prepared = [
        pipeline(
            dict(img=one, img_id=i, ori_shape=one.shape[:2], img_shape=one.shape[:2])
        )
        for i, one in enumerate(images)
    ]
    model = TiledDetector(module, batch_size)
    samples = model.test_step(pseudo_collate(prepared))
    found = [
        sorted(
            (label, *map(int, box))
            for label, box in zip(
                sample.pred_instances.labels.tolist(),
                sample.pred_instances.bboxes.tolist(),
                strict=True,
            )
        )
        for sample in samples
    ]
    return found, module.batches


@pytest.mark.parametrize('seed', range(6))
def test_small_things_are_found_once_wherever_tiles_cut_them(seed):
    image, boxes = draw(seed, 150, (4, 30))
    assert detect([image])[0] == [boxes]


@pytest.mark.parametrize('seed', range(6))
def test_things_larger_than_a_tile_are_found_in_the_whole_image(seed):
    image, boxes = draw(seed, 2, (170, 210), (900, 700))
    assert detect([image])[0] == [boxes]


def test_images_of_several_sizes_in_batches():
    images, boxes = zip(
        draw(0, 30, (5, 20)),
        draw(1, 3, (5, 20), (100, 90)),  # no larger than a tile
        draw(2, 30, (5, 20), (161, 700)),
        draw(3, 0, (5, 20)),
        strict=True,
    )
    found, batches = detect(images, batch_size=5)
    assert found == list(boxes)
    assert max(batches) == 5 and sum(batches) == 4 + 25 + 16 + 25


def test_masks_are_refused():
    module = Bright()
    module.with_mask = True
    with pytest.raises(UserError, match='masks of several tiles are not merged'):
        TiledDetector(module)


def config(first='LoadImageFromFile') -> Config:
    steps = [dict(type=first), dict(type='Resize'), dict(type='PackDetInputs')]
    dataset = dict(type='ConcatDataset', dataset=dict(pipeline=steps))
    return Config(dict(model=dict(type='M'), test_dataloader=dict(dataset=dataset)))


def test_a_config_is_rewritten():
    changed = config()
    use_tiles(changed, (640, 480), 0.2)
    assert changed.model == dict(type='TiledDetector', module=dict(type='M'))
    first, cut = changed.test_dataloader.dataset.dataset.pipeline
    assert first.type == 'LoadImageFromFile'
    assert [step.type for step in cut.transforms] == ['Resize', 'PackDetInputs']
    assert (cut.size, cut.overlap) == ((640, 480), 0.2)


@pytest.mark.parametrize(
    ('size', 'overlap'), [((0, 5), 0.2), ((5, -1), 0.2), ((5, 5), 1.0), ((5, 5), -0.1)]
)
def test_impossible_tiles_are_refused(size, overlap):
    with pytest.raises(UserError, match='must have a size, and share'):
        use_tiles(config(), size, overlap)


def test_a_pipeline_that_loads_otherwise_is_refused():
    with pytest.raises(UserError, match='must begin with LoadImageFromFile, and'):
        use_tiles(config('Resize'), (5, 5), 0.2)
