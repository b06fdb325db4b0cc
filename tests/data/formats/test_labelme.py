"""LabelMe files: shapes to boxes, and what is refused or left out, by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.data.formats.labelme import LabelMeDataset
from mmfrcnn.errors import UserError


@pytest.fixture
def make(tmp_path):
    """Return a function that writes one image and its LabelMe file."""

    def write(shapes, name='a.json', **extra) -> LabelMeDataset:
        Image.new('RGB', (40, 30)).save(tmp_path / 'a.jpg')
        size = {'imageWidth': 40, 'imageHeight': 30}
        content = {'imagePath': 'a.jpg', **size, 'shapes': shapes, **extra}
        (tmp_path / name).write_text(json.dumps(content))
        return LabelMeDataset(data_root=str(tmp_path), pipeline=[])

    return write


def shape(kind='rectangle', points=((2, 3), (20, 25)), label='cat') -> dict:
    return {'label': label, 'points': points, 'shape_type': kind}


def boxes(dataset) -> list:
    return [one['bbox'] for info in dataset for one in info['instances']]


@pytest.mark.parametrize(
    ('kind', 'points', 'box'),
    [
        ('rectangle', [[20, 3], [2, 25.5]], [2, 3, 20, 25.5]),
        ('polygon', [[2, 9], [11, 3], [20, 9], [11, 25]], [2, 3, 20, 25]),
        ('circle', [[20, 15], [23, 19]], [15, 10, 25, 20]),
        ('mask', [[2, 3], [20, 25]], [2, 3, 20, 25]),
    ],
)
def test_the_box_of_a_shape(make, kind, points, box):
    assert boxes(make([shape(kind, points)])) == [box]


def test_points_and_lines_are_left_out_by_name(make):
    kinds = ('point', 'line', 'linestrip')
    drawn = [shape(kind, [[1, 2], [9, 9]], f'a {kind}') for kind in kinds]
    dataset = make([*drawn, shape()])
    assert boxes(dataset) == [[2, 3, 20, 25]]
    report = check_dataset(dataset, 'train')
    assert 'left out 3 a point or line, which has no box: a: shape 1, a point' in report


def test_no_shapes_are_an_image_without_objects(make):
    dataset = make([])
    assert len(dataset) == 1 and boxes(dataset) == []


def test_the_image_is_found_by_name_where_the_path_is_of_another_machine(make):
    dataset = make([shape()], imagePath='..\\..\\Desktop\\pets\\a.jpg')
    assert dataset.get_data_info(0)['img_id'] == 'a.jpg'
    dataset = make([shape()], imagePath='renamed.png')
    assert dataset.get_data_info(0)['img_id'] == 'a.jpg'


def test_an_image_of_another_size_than_annotated_is_refused(make):
    with pytest.raises(UserError, match='40x30 pixels, annotated as 400x300'):
        check_dataset(make([shape()], imageWidth=400, imageHeight=300), 'train')


def test_other_json_is_no_labelme_file(make, tmp_path):
    (tmp_path / 'meta.json').write_text('{"version": 1}')
    assert len(make([shape()])) == 1


@pytest.mark.parametrize(
    ('shapes', 'message'),
    [
        ([shape(label='')], 'shape 1 has no "label"'),
        ([shape(), 7], 'shape 2 has no "label"'),
        ([shape(points=[[1, 2], [3]])], 'shape 1, cat: points is no list'),
        ([shape(points=None)], 'points is no list'),
        ([shape(points=[])], 'points is no list'),
        ([shape('circle', [[1, 2]])], 'points is no list'),
        ([shape(points=[['x', 1], [2, 3]])], 'points is no list'),
    ],
)
def test_broken_shapes_are_named(make, shapes, message):
    with pytest.raises(UserError, match=r'a\.json: .*' + message):
        make(shapes)


def test_broken_files_are_named(make, tmp_path: Path):
    with pytest.raises(UserError, match=r'b\.json: its image nowhere\.jpg is not'):
        make([shape()], name='b.json', imagePath='nowhere.jpg')
    (tmp_path / 'b.json').write_text('{"shapes": [')
    with pytest.raises(UserError, match=r'b\.json: broken JSON'):
        make([shape()])
    with pytest.raises(UserError, match='no such folder of LabelMe files'):
        LabelMeDataset(data_root=str(tmp_path / 'nowhere'), pipeline=[])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='no LabelMe file'):
        LabelMeDataset(data_root=str(tmp_path / 'empty'), pipeline=[])
