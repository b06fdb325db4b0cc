"""Label Studio's export: percents to pixels, turned boxes, what is refused by name."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mmfrcnn.data.formats.label_studio import LabelStudioDataset
from mmfrcnn.errors import UserError


@pytest.fixture
def make(tmp_path):
    """Return a function that writes one image and an export of tasks."""

    def write(tasks) -> LabelStudioDataset:
        (tmp_path / 'img').mkdir(exist_ok=True)
        Image.new('RGB', (200, 100)).save(tmp_path / 'img/a b.jpg')
        (tmp_path / 'out.json').write_text(json.dumps(tasks))
        root = str(tmp_path)
        return LabelStudioDataset(data_root=root, ann_file='out.json', pipeline=[])

    return write


def task(*values, image='/data/upload/3/0123abcd-a%20b.jpg', **extra) -> dict:
    result = [{'type': 'rectanglelabels', 'value': value} for value in values]
    annotations = [{'id': 1, 'result': result}]
    return {'id': 5, 'data': {'image': image}, 'annotations': annotations, **extra}


def box(x, y, width, height, rotation=0, label='cat') -> dict:
    return {
        **dict(x=x, y=y, width=width, height=height, rotation=rotation),
        'rectanglelabels': [label],
    }


def boxes(dataset) -> list:
    return [one['bbox'] for info in dataset for one in info['instances']]


def test_percents_are_of_width_and_height(make):
    dataset = make([task(box(10, 20, 30, 40))])
    assert boxes(dataset) == [[20, 20, 80, 60]]
    assert dataset.get_data_info(0)['img_id'] == 'img/a b.jpg'


@pytest.mark.parametrize('degrees', [-50, 17, 90, 200])
def test_a_turned_box_equals_opencvs_turned_corners(make, degrees):
    (found,) = boxes(make([task(box(50, 50, 10, 10, degrees))]))
    # OpenCV turns anticlockwise, about the upper left corner of the box.
    turn = cv2.getRotationMatrix2D((100, 50), -degrees, 1)
    corners = np.array([[100, 50], [120, 50], [100, 60], [120, 60]], float)
    turned = corners @ turn[:, :2].T + turn[:, 2]
    np.testing.assert_allclose(found, [*turned.min(0), *turned.max(0)], atol=1e-9)


def test_outlines_and_ellipses(make):
    outline = {'points': [[10, 20], [30, 10], [20, 60]], 'polygonlabels': ['cat']}
    ellipse = dict(x=50, y=50, radiusX=10, radiusY=20, rotation=0)
    found = boxes(make([task(outline, {**ellipse, 'ellipselabels': ['cat']})]))
    np.testing.assert_allclose(found, [[20, 10, 60, 60], [80, 30, 120, 70]])


def test_what_is_no_shape_is_passed_over(make):
    assert boxes(make([task({'choices': ['sunny']}, {'text': ['hm']})])) == []


def test_tasks_without_annotation_are_left_out_and_said(make):
    untouched = {'id': 9, 'data': {'image': 'x.jpg'}, 'annotations': []}
    cancelled = task(box(1, 1, 2, 2), id=10)
    cancelled['annotations'][0]['was_cancelled'] = True
    dataset = make([task(box(10, 20, 30, 40)), untouched, cancelled])
    assert len(dataset) == 1
    assert dataset.notes == ['2 tasks have no annotation, and are left out: 9; 10']


def test_of_several_annotations_the_ground_truth_counts(make):
    both = task(box(10, 20, 30, 40))
    both['annotations'].append({'id': 2, 'result': [], 'ground_truth': False})
    with pytest.raises(UserError, match='task 5: it has 2 annotations, and none alone'):
        make([both])
    both['annotations'][1]['ground_truth'] = True
    assert boxes(make([both])) == []


@pytest.mark.parametrize(
    ('tasks', 'message'),
    [
        ({'id': 1}, 'it is no list of tasks'),
        ([7], 'task 7: not a task'),
        ([task(image='b.jpg')], 'task 5: its image b.jpg is not in'),
        ([{'id': 1, 'data': {}, 'annotations': [{'result': []}]}], 'no "data" that'),
        ([task({'rectanglelabels': ['cat'], 'x': 1})], 'shape 1, cat: no box can be'),
        ([task({**box(1, 2, 3, 4), 'x': 'one'})], 'no box can be read'),
        ([{**task(), 'annotations': [{'result': 7}]}], 'it has no list "result"'),
    ],
)
def test_broken_exports_are_named(make, tasks, message):
    with pytest.raises(UserError, match=r'out\.json') as caught:
        make(tasks)
    assert message in str(caught.value)


def test_two_images_of_one_name_are_named(make, tmp_path):
    (tmp_path / 'old').mkdir()
    Image.new('RGB', (200, 100)).save(tmp_path / 'old/a b.jpg')
    with pytest.raises(UserError, match=r'a b.jpg is there twice'):
        make([task(box(1, 2, 3, 4))])
