"""YOLO folders: boxes, what is refused, and by which name."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from PIL import Image

from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.data.formats.yolo.dataset import YoloDataset
from mmfrcnn.data.formats.yolo.read import to_pixels
from mmfrcnn.errors import UserError


@pytest.fixture
def make_yolo(tmp_path):
    """Return a function that writes three 40x30 images, two of them with labels."""

    def make(lines='0 0.5 0.5 0.25 1\n', names='names: [Cat, "Großer Hund"]') -> dict:
        for folder in ('images/train/sub dir', 'labels/train/sub dir'):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in ('a.jpg', 'b.PNG', 'sub dir/ü c.jpg'):
            Image.new('RGB', (40, 30)).save(tmp_path / 'images/train' / name)
        (tmp_path / 'labels/train/a.txt').write_text(lines)
        (tmp_path / 'labels/train/sub dir/ü c.txt').write_text('1 0.1 0.1 0.2 0.2\n\n')
        (tmp_path / 'data.yaml').write_text(names)
        prefix = {'img': 'images/train'}
        return {'data_root': str(tmp_path), 'data_prefix': prefix, 'pipeline': []}

    return make


def instances(dataset) -> list:
    return [thing for i in range(len(dataset)) for thing in dataset[i]['instances']]


def test_reads_yolo_with_classes_from_the_folder_and_background_images(make_yolo):
    dataset = YoloDataset(**make_yolo())
    assert dataset.metainfo['classes'] == ('Cat', 'Großer Hund')
    assert [dataset[i]['img_id'] for i in range(3)] == [
        'a.jpg',
        'b.PNG',
        'sub dir/ü c.jpg',
    ]
    assert instances(dataset) == [
        {'bbox': [15, 0, 25, 30], 'bbox_label': 0, 'ignore_flag': 0},
        {'bbox': [0, 0, 8, 6], 'bbox_label': 1, 'ignore_flag': 0},
    ]
    report = check_dataset(dataset, 'train')
    assert 'images   3, of them 1 without objects' in report
    assert 'boxes    2: Cat 1, Großer Hund 1' in report


def test_background_images_can_be_dropped(make_yolo):
    config = make_yolo() | {'filter_cfg': {'filter_empty_gt': True}}
    dataset = YoloDataset(**config)
    assert len(dataset) == 2
    assert '1 of all dropped' in check_dataset(dataset, 'train')
    assert len(YoloDataset(**config, test_mode=True)) == 3


def test_yolo_boxes_are_the_floats_to_the_last_digit():
    rng = np.random.default_rng(0)
    for _ in range(200):
        width, height = rng.integers(1, 5000, 2).tolist()
        relative = rng.uniform(-0.2, 1.2, 4)
        box = to_pixels([Decimal(repr(v)) for v in relative.tolist()], width, height)
        centre, size = relative[:2], relative[2:]
        corners = np.concatenate([centre - size / 2, centre + size / 2])
        expected = corners * [width, height, width, height]
        np.testing.assert_allclose(box, expected, atol=1e-9)


def test_boxes_without_area_or_outside_are_left_out_by_name(make_yolo):
    lines = '0 .5 .5 .1 .1\n0 .5 .5 0 .1\n1 2 .5 .1 .1\n1 nan .5 .1 .1\n'
    dataset = YoloDataset(**make_yolo(lines))
    assert len(instances(dataset)) == 2
    report = check_dataset(dataset, 'train')
    assert '1 no area' in report and 'a.jpg: line 2, Cat' in report
    assert 'outside the image: a.jpg: line 3' in report
    assert 'not a number: a.jpg: line 4' in report


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('2 .5 .5 .1 .1', "class '2', but the classes are 0 to 1: Cat, Großer Hund"),
        ('-1 .5 .5 .1 .1', "class '-1'"),
        ('Cat .5 .5 .1 .1', "class 'Cat'"),
        ('0 .5 .5 .1', '4 values'),
        ('0 .5 .5 .1 .1 .9', '6 values a score?'),
        ('0 .1 .1 .2 .1 .2 .2 .3', '8 values'),
        ('0 .5 x .1 .1', 'not all numbers'),
        ('0, .5, .5, .1, .1', 'not all numbers'),
        ('0 0,5 0,5 0,1 0,1', 'not all numbers'),
        ('0 .5 .5 1e400 .1', 'not all numbers'),
        ('0 .5 .5 1e999999999 .1', 'not all numbers'),
        ('0.5 .5 .5 .1 .1', "class '0.5', but"),
        ('2.0 .5 .5 .1 .1', "class '2.0', but"),
    ],
)
def test_a_broken_yolo_line_is_named(make_yolo, line, message):
    with pytest.raises(UserError) as caught:
        YoloDataset(**make_yolo('0 .5 .5 .1 .1\n' + line))
    assert 'labels/train/a.txt, line 2: ' in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        ('nc: 2', 'no "names"'),
        ('names: [Cat', 'broken YAML'),
        ('names: {0: Cat, 2: Dog}', 'names has no 1; it must count 0, 1, 2'),
        ('names: [Cat, ~]', 'class 1 reads as None'),
        ('names: Cat', 'no "names"'),
        ('names: [Cat, Cat]', "two classes are named 'Cat'"),
        ('names: {1: Cat, 2: Dog}', 'names begins at 1; it must begin at 0'),
        ('names: [no, yes]', 'takes no, yes'),
        ('names: []', 'class 0 has no name'),
        ('names: {Cat: 0, Dog: 1}', 'no "names"'),
        ('names: [Cat, Dog]\nkpt_shape: [2, 2]', 'with keypoints are not read'),
    ],
)
def test_broken_class_names_are_named(make_yolo, names, message):
    with pytest.raises(UserError, match=r'data\.yaml: ') as caught:
        YoloDataset(**make_yolo(names=names))
    assert message in str(caught.value)


def test_other_mistakes_in_a_yolo_folder_are_named(make_yolo, tmp_path):
    config = make_yolo()

    def refused(**changes) -> str:
        with pytest.raises(UserError) as caught:
            YoloDataset(**(config | changes))
        return str(caught.value)

    orphan = tmp_path / 'labels/train/z.txt'
    orphan.write_text('0 .5 .5 .1 .1')
    assert f'{orphan}: there is no image of this name' in refused()
    orphan.unlink()
    assert 'no such folder of images' in refused(data_prefix={'img': 'images/none'})
    assert 'no folder "images"' in refused(data_prefix={'img': 'labels/train'})
    (tmp_path / 'images/train/a.png').write_bytes(
        (tmp_path / 'images/train/b.PNG').read_bytes()
    )
    assert 'a.txt would belong to' in refused()
    (tmp_path / 'images/train/a.png').unlink()
    (tmp_path / 'images/train/a.jpg').write_bytes(b'no image')
    assert 'a.txt: broken image' in refused()
    (tmp_path / 'data.yaml').unlink()
    assert 'no class names. Write them into data.yaml' in refused()


def test_a_polygon_stands_for_its_bounding_box(make_yolo):
    dataset = YoloDataset(**make_yolo('0 .5 .5 .25 1\n0 .25 .1 .5 .2 .75 .9 .5 .3\n'))
    assert [thing['bbox'] for thing in instances(dataset)[:2]] == [
        [15, 0, 25, 30],
        [10, 3, 30, 27],
    ]
    assert 'outlines 1, by their' in check_dataset(dataset, 'train')


def test_notes_among_the_labels_are_no_labels(make_yolo, tmp_path):
    config = make_yolo()
    for name in ('README.dataset.txt', 'README.roboflow.txt', 'notes.json'):
        (tmp_path / 'labels/train' / name).write_text('Pets, 3 images\n\nCC BY 4.0\n')
    assert len(YoloDataset(**config)) == 3


def test_classes_txt_serves_as_well(make_yolo, tmp_path):
    config = make_yolo()
    (tmp_path / 'data.yaml').unlink()
    (tmp_path / 'labels/train/classes.txt').write_text('Cat\nGroßer Hund\n')
    assert YoloDataset(**config).metainfo['classes'] == ('Cat', 'Großer Hund')


def test_of_a_polygon_among_boxes_the_bounding_box_is_taken(make_yolo):
    lines = '0 .1 .1 .4 .1 .3 .5\n0 .5 .5 .25 1\n'
    boxes = [thing['bbox'] for thing in instances(YoloDataset(**make_yolo(lines)))]
    assert boxes[:2] == [[4, 3, 16, 15], [15, 0, 25, 30]]  # of 40x30 pixels


def test_a_class_may_be_written_with_a_point(make_yolo):
    dataset = YoloDataset(**make_yolo('1.0 .5 .5 .25 1  \r\n0.000 .5 .5 .25 1'))
    assert [thing['bbox_label'] for thing in instances(dataset)[:2]] == [1, 0]


def test_boxes_in_pixels_are_asked_about(make_yolo):
    dataset = YoloDataset(**make_yolo('0 .5 .5 8 8\n1 .5 .5 8 8'))
    report = check_dataset(dataset, 'train')
    assert '2 of 3 boxes reach beyond' in report and 'Are they in pixels?' in report
