"""Merging what tiles show, with a detector whose finds are exact: bright rectangles."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import json
import pickle

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from PIL import Image
from torch import nn

from mmfrcnn import Detector
from mmfrcnn.data.images import find_images
from mmfrcnn.deploy.tiled import TiledDetector, use_tiles
from mmfrcnn.errors import UserError
from tests.end_to_end.tiny import run_here

from .run import make_run


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


# -- In the detector and the tools


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tiled')
    make_run(folder)
    return folder


@pytest.fixture(scope='module')
def images(folder):
    return find_images(folder / 'images')


def check_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-4)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_the_detector_with_tiles(folder, images):
    plain = Detector(folder / 'run', 'cpu')
    tiled = Detector(folder / 'run', 'cpu', tiles=(64, 48), batch_size=4)
    found = tiled(list(images))
    check_same([tiled(path) for path in images], found)  # whatever is in the batch
    check_same(pickle.loads(pickle.dumps(tiled))(list(images)), found)
    for path, one in zip(images, found, strict=True):
        width, height = one.image_size
        if width <= 64 and height <= 48:
            check_same([one], [plain(path)])
        else:
            assert len(one) > len(plain(path))
            assert (one.boxes >= 0).all()
            assert (one.boxes <= [width, height, width, height]).all()
    with pytest.raises(UserError, match='proposals are not merged over tiles'):
        tiled.proposals(images[0])


def test_tiles_beside_each_other_find_what_each_finds(folder, images):
    """Two copies of an image, and no overlap: inside each, the same as in one."""
    one = Image.open(images[0])
    both = Image.new('RGB', (2 * one.width, one.height))
    both.paste(one, (0, 0))
    both.paste(one, (one.width, 0))
    alone = Detector(folder / 'run', 'cpu')(one)
    tiles = (one.width, one.height)
    found = Detector(folder / 'run', 'cpu', tiles=tiles, tile_overlap=0)(both)
    inside = (alone.boxes[:, 0] > 3) & (alone.boxes[:, 2] < one.width - 3)
    assert inside.sum() > 3
    for left in (0, one.width):
        shifted = alone.boxes[inside] + np.array([left, 0, left, 0], np.float32)
        distance = np.abs(shifted[:, None] - found.boxes[None]).max(2)
        same = alone.labels[inside][:, None] == found.labels[None]
        assert ((distance < 1e-2) & same).any(1).all()


def test_predict_equals_the_detector(folder, images, tmp_path):
    done = run_here(
        'predict',
        *(folder / 'images', folder / 'tiny.py', folder / 'run/epoch_1.pth'),
        *('--out-dir', tmp_path / 'out', '--tiles', 64, 48, '--num-workers', 0),
    )
    assert done == 0
    written = json.loads((tmp_path / 'out/predictions.json').read_text())
    tiled = Detector(folder / 'run', 'cpu', tiles=(64, 48))
    for number, path in enumerate(images, 1):
        one = tiled(path)
        mine = [a for a in written['annotations'] if a['image_id'] == number]
        boxes = np.array([a['bbox'] for a in mine])
        np.testing.assert_allclose(boxes[:, :2], one.boxes[:, :2], atol=0.02)
        assert [a['category_id'] - 1 for a in mine] == one.labels.tolist()


def test_tiles_are_not_recorded(folder, tmp_path, capsys):
    run = folder / 'tiny.py', folder / 'run/epoch_1.pth'
    for tool, given in {
        'predict': [folder / 'images', *run, '--out-dir', tmp_path / 'out'],
        'test': [*run, '--work-dir', tmp_path / 'run'],
    }.items():
        code = run_here(tool, *given, '--tiles', 64, 48, '--cuda-graphs')
        assert code == 2, tool
        assert 'choose one' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
