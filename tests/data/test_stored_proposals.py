"""Proposals in a file: written, read, refused, and moved with their images."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope

import mmfrcnn  # noqa: F401  (before mmdet)
from mmfrcnn.data.proposals import (
    ImageProposals,
    StoredProposals,
    check_proposals,
    save_proposals,
)
from mmfrcnn.errors import UserError

HEIGHT, WIDTH = 90, 140


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope('mmdet')


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.integers(0, 80, (count, 2))
    return np.concatenate([low, low + rng.integers(1, 60, (count, 2))], 1).clip(
        0, [WIDTH, HEIGHT, WIDTH, HEIGHT]
    )


def proposals_of(img_id, boxes: np.ndarray) -> ImageProposals:
    scores = np.linspace(0.9, 0.1, len(boxes))
    return ImageProposals(img_id, (HEIGHT, WIDTH), boxes, scores)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [
        proposals_of(img_id, random_boxes(rng, count) + rng.random((count, 4)))
        for img_id, count in (('2007_0001', 5), (17, 0), ('17b', 3), ('bild ü', 1))
    ]
    save_proposals(tmp_path / 'deep/p.npz', images)
    stored = StoredProposals(tmp_path / 'deep/p.npz')
    assert len(stored) == 4
    assert 18 not in stored
    for image in images:
        assert image.img_id in stored
        found = stored[image.img_id]
        assert found.size == (HEIGHT, WIDTH)
        np.testing.assert_array_equal(found.boxes, image.boxes.astype(np.float32))
        np.testing.assert_array_equal(found.scores, image.scores.astype(np.float32))
    assert [path.name for path in (tmp_path / 'deep').iterdir()] == ['p.npz']
    with pytest.raises(
        UserError, match=r"p.npz has no proposals of image 'x'.*4 other"
    ):
        stored['x']
    with pytest.raises(UserError, match="two images have the id '17'"):
        save_proposals(tmp_path / 'p.npz', [images[1], images[1]])
    save_proposals(tmp_path / 'none.npz', [])
    assert len(StoredProposals(tmp_path / 'none.npz')) == 0


def damaged(kind: str, path: Path) -> None:
    """Write something that is no file of proposals."""
    good = path.with_name('good.npz')
    save_proposals(good, [proposals_of(1, random_boxes(np.random.default_rng(0), 4))])
    with np.load(good) as file:
        arrays = dict(file)
    if kind == 'cut':
        path.write_bytes(good.read_bytes()[:300])
    elif kind == 'pickle':
        path.write_bytes(pickle.dumps({'a.jpg': np.zeros((1, 4))}))
    elif kind == 'objects':
        np.savez(path, **{**arrays, 'image_ids': np.array([None], object)})
    elif kind == 'array':
        np.save(path.open('wb'), np.zeros((3, 4)))
    elif kind == 'text':
        path.write_text('[]')
    elif kind == 'empty':
        path.write_bytes(b'')
    elif kind == 'other arrays':
        np.savez(path, boxes=np.zeros((0, 4)))
    elif kind == 'lengths':
        np.savez(path, **{**arrays, 'scores': arrays['scores'][:-1]})
    elif kind == 'ends':
        np.savez(path, **{**arrays, 'ends': arrays['ends'] + 1})


@pytest.mark.parametrize(
    'kind',
    [
        *('cut', 'pickle', 'objects', 'array', 'text', 'empty', 'other arrays'),
        *('lengths', 'ends'),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'proposals.npz'
    damaged(kind, path)
    with pytest.raises(UserError, match=r'proposals.npz is not a file of proposals'):
        StoredProposals(path)


def test_a_missing_file_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'no such file .*x.npz.*store-proposals'):
        StoredProposals(tmp_path / 'x.npz')


def moved(steps: list[dict], boxes: np.ndarray, path: Path) -> dict:
    """Run an image through a pipeline, its objects being its proposals too."""
    save_proposals(path, [proposals_of(7, boxes)])
    rows = [dict(bbox=b, bbox_label=0, ignore_flag=0) for b in boxes.tolist()]
    pipeline = [
        dict(type='LoadAnnotations', with_bbox=True),
        *steps,
        dict(type='LoadStoredProposals', file=str(path)),
    ]
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return Compose(pipeline)(
        dict(
            img=image,
            img_id=7,
            img_shape=image.shape[:2],
            ori_shape=image.shape[:2],
            instances=rows,
        )
    )


@pytest.mark.parametrize(
    'steps',
    [
        [],
        [dict(type='Resize', scale=(333, 171), keep_ratio=True)],
        [dict(type='Resize', scale=(70, 200), keep_ratio=False)],
        [
            dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            dict(type='Resize', scale=(300, 300), keep_ratio=True),
            dict(type='RandomFlip', prob=1.0, direction='diagonal'),
        ],
        [dict(type='Rotate', prob=1.0, level=5)],
        [
            dict(type='RandomFlip', prob=1.0, direction='vertical'),
            dict(type='ShearX', prob=1.0, level=4),
        ],
        [dict(type='Resize', scale=(200, 150)), dict(type='PhotoMetricDistortion')],
        [dict(type='Resize', scale=(99, 99)), dict(type='Pad', size=(128, 128))],
    ],
)
def test_proposals_move_as_mmdet_moves_the_objects(tmp_path: Path, steps) -> None:
    boxes = random_boxes(np.random.default_rng(1), 9).astype(np.float32)
    result = moved(steps, boxes, tmp_path / 'p.npz')
    expected = result['gt_bboxes'].numpy()
    np.testing.assert_allclose(result['proposals'], expected, atol=2e-3)
    assert result['proposals'].dtype == np.float32
    assert len(result['proposals_scores']) == len(expected)


def test_a_crop_drops_what_is_outside(tmp_path: Path) -> None:
    boxes = random_boxes(np.random.default_rng(2), 30).astype(np.float32)
    crop = dict(type='RandomCrop', crop_size=(50, 60), allow_negative_crop=True)
    result = moved([crop], boxes, tmp_path / 'p.npz')
    expected = result['gt_bboxes'].numpy()
    assert 0 < len(expected) < 30
    np.testing.assert_allclose(result['proposals'], expected, atol=2e-3)
    scores = np.linspace(0.9, 0.1, 30)
    assert set(result['proposals_scores'].round(4)) < set(scores.round(4).astype('f4'))


def test_moves_that_are_not_noted_are_refused(tmp_path: Path) -> None:
    boxes = random_boxes(np.random.default_rng(3), 9).astype(np.float32)
    for step in (
        dict(type='Expand', prob=1.0, ratio_range=(3, 4)),
        dict(type='RandomAffine', max_translate_ratio=0.4, scaling_ratio_range=(2, 2)),
    ):
        with pytest.raises(UserError, match='image 7: its boxes are not where'):
            moved([step], boxes, tmp_path / 'p.npz')


def test_at_most_so_many_and_only_of_this_image(tmp_path: Path) -> None:
    boxes = random_boxes(np.random.default_rng(4), 9)
    save_proposals(tmp_path / 'p.npz', [proposals_of(7, boxes)])
    load = Compose(
        [dict(type='LoadStoredProposals', file=str(tmp_path / 'p.npz'), max_per_img=3)]
    )
    image = dict(img_id=7, img_shape=(HEIGHT, WIDTH), ori_shape=(HEIGHT, WIDTH))
    np.testing.assert_array_equal(load(dict(image))['proposals'], boxes[:3])
    with pytest.raises(UserError, match=r'p.npz is of other images: 7 is 90x140, its'):
        load(dict(image, ori_shape=(WIDTH, HEIGHT)))
    with pytest.raises(UserError, match='no proposals of image 8'):
        load(dict(image, img_id=8))


class Images:
    """A data set of three images, as far as it is looked at."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self.pipeline = Compose([dict(type='LoadStoredProposals', file=str(path))])
        self.size = size

    def __len__(self) -> int:
        return 3

    def get_data_info(self, index: int) -> dict:
        """Return what the data set knows of an image."""
        return dict(img_id=index, height=self.size[0], width=self.size[1])


def test_a_data_set_is_compared_with_its_proposals(tmp_path: Path) -> None:
    path = tmp_path / 'p.npz'
    boxes = random_boxes(np.random.default_rng(5), 2)
    save_proposals(path, [proposals_of(i, boxes) for i in range(4)])
    check_proposals(Images(path, (HEIGHT, WIDTH)), 'train_dataloader.dataset')
    with pytest.raises(UserError, match=r'image 0 is 5x4, in .*p.npz it is 140x90'):
        check_proposals(Images(path, (4, 5)), 'train_dataloader.dataset')
    save_proposals(path, [proposals_of(2, boxes)])
    message = r'train_dataloader.dataset: .*no proposals of 2 of the 3 images \(0, 1\)'
    with pytest.raises(UserError, match=message):
        check_proposals(Images(path, (HEIGHT, WIDTH)), 'train_dataloader.dataset')
