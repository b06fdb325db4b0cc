"""What was found, in the forms of other libraries, against hand-computed values."""

from __future__ import annotations

import importlib.util
import pickle
import sys

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmfrcnn.deploy.found import Found
from mmfrcnn.deploy.inputs import Given
from mmfrcnn.errors import UserError

PICTURE = np.full((40, 60, 3), 200, np.uint8)


def found(count=3, masks=False):
    boxes = np.array([[1, 2, 11, 22], [30, 5, 50, 35], [0, 0, 60, 40]], np.float32)
    drawn = np.zeros((3, 40, 60), bool)
    drawn[0, 2:22, 1:11] = True
    return Found(
        boxes[:count],
        np.array([0.75, 0.5, 0.25], np.float32)[:count],
        np.array([1, 0, 1])[:count],
        drawn[:count] if masks else None,
        (60, 40),
        ('box', 'disc'),
        Given(PICTURE, 'rgb', 'the image'),
        [(255, 0, 0), (0, 0, 255)],
    )


def test_what_it_says():
    assert repr(found()) == 'Found(2 disc, 1 box, 60x40)'
    assert repr(found(0)) == 'Found(nothing, 60x40)'
    assert len(found()) == 3 and found().names == ['disc', 'box', 'disc']
    assert found().path is None
    with pytest.raises(AttributeError):
        found().boxes = None


def test_filter():
    best = found(masks=True).filter(0.5)
    assert best.scores.tolist() == [0.75, 0.5]
    assert best.boxes.tolist() == found().boxes[:2].tolist()
    assert best.labels.tolist() == [1, 0] and best.masks.shape == (2, 40, 60)
    assert len(found().filter(1)) == 0 and len(found().filter(0)) == 3


@pytest.mark.parametrize('masks', [False, True])
def test_coco(masks):
    one, other, _ = found(masks=masks).to_coco(7)
    assert one['image_id'] == 7 and one['category_id'] == 2
    assert one['bbox'] == [1, 2, 10, 20] and one['score'] == 0.75
    assert other['category_id'] == 1
    if masks:
        assert coco_mask.area(one['segmentation']) == 200
    assert found().to_coco(1, [10, 30])[0]['category_id'] == 30
    assert found(0, masks).to_coco() == []


def test_a_picture():
    picture = found().draw()
    assert picture.size == (60, 40) and picture.mode == 'RGB'
    pixels = np.asarray(picture).astype(int)
    blue, red = pixels[22, 5], pixels[30, 30]  # the first box's lower edge, a left one
    assert blue[2] > blue[0] + 50 and red[0] > red[2] + 50
    assert pixels[38, 2].tolist() == [200] * 3  # of too low a score
    assert np.asarray(found().draw(0.9)).tolist() == PICTURE.tolist()
    assert np.asarray(found(0, masks=True).draw(0)).tolist() == PICTURE.tolist()
    masked = np.asarray(found(masks=True).draw()).astype(int)
    assert (masked[20, 3:8] != pixels[20, 3:8]).any()  # below the name


def test_it_can_be_pickled():
    again = pickle.loads(pickle.dumps(found(masks=True)))
    assert again.to_coco() == found(masks=True).to_coco()
    assert np.asarray(again.draw()).shape == (40, 60, 3)


def absent(name):
    return importlib.util.find_spec(name) is None


@pytest.mark.skipif(absent('pandas'), reason='the extra results (pandas) is absent')
def test_a_data_frame():
    table = found().to_dataframe()
    columns = ['x1', 'y1', 'x2', 'y2', 'score', 'label', 'name']
    assert list(table.columns) == columns
    assert table.iloc[1].tolist() == [30, 5, 50, 35, 0.5, 0, 'box']
    assert list(found(0).to_dataframe().columns) == columns
    assert len(found(0).to_dataframe()) == 0


@pytest.mark.skipif(
    absent('supervision'), reason='the extra results (supervision) is absent'
)
@pytest.mark.parametrize('masks', [False, True])
def test_detections_of_supervision(masks):
    import supervision

    given = found(masks=masks).to_supervision()
    assert isinstance(given, supervision.Detections)
    assert given.xyxy.tolist() == found().boxes.tolist()
    assert given.confidence.tolist() == [0.75, 0.5, 0.25]
    assert given.class_id.tolist() == [1, 0, 1]
    assert given.data['class_name'].tolist() == ['disc', 'box', 'disc']
    assert (given.mask is None) is not masks
    assert len(given[given.confidence > 0.4]) == 2
    assert len(found(0, masks).to_supervision()) == 0


@pytest.mark.parametrize('name', ['pandas', 'supervision'])
def test_a_missing_package_is_one_line(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    ask = {'pandas': 'to_dataframe', 'supervision': 'to_supervision'}[name]
    with pytest.raises(
        UserError, match=rf'^{ask}\(\) needs {name}.*pip install {name}$'
    ):
        getattr(found(), ask)()
