"""COCO files as tools write them: the right figures, whatever they leave out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from PIL import Image

from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn.data.formats.coco.read import read_coco, read_coco_names
from mmfrcnn.data.formats.coco.regular import load_coco, make_regular
from mmfrcnn.errors import UserError


def table(images=2, objects=2):
    """Images of 100x100 with boxes of 20x20, half of them cats."""
    boxes = [
        {
            'id': image * objects + place + 1,
            'image_id': image + 1,
            'category_id': 1 + place % 2,
            'bbox': [10 + 30 * place, 10, 20, 20],
            'area': 400,
            'iscrowd': 0,
        }
        for image in range(images)
        for place in range(objects)
    ]
    return {
        'images': [
            {'id': i + 1, 'file_name': f'{i}.png', 'width': 100, 'height': 100}
            for i in range(images)
        ],
        'annotations': boxes,
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    }


def write(folder, content, encoding='utf-8'):
    for image in content['images']:
        Image.new('RGB', (100, 100)).save(folder / image['file_name'])
    path = folder / 'boxes.json'
    path.write_text(json.dumps(content), encoding=encoding)
    return path


def dataset_of(path, classes=('cat', 'dog')):
    return CocoDataset(
        ann_file=str(path),
        data_prefix={'img': str(path.parent)},
        metainfo={'classes': classes},
        pipeline=[],
    )


def precision_of_truth(path, dataset):
    """AP of mmdet's metric for the data set's own boxes as detections."""
    metric = CocoMetric(ann_file=str(path), metric='bbox')
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        boxes = [one['bbox'] for one in info['instances']]
        labels = [one['bbox_label'] for one in info['instances']]
        found = {
            'bboxes': torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
            'scores': torch.full((len(boxes),), 0.9),
            'labels': torch.tensor(labels, dtype=torch.int64),
        }
        sample = {'img_id': info['img_id'], 'ori_shape': (100, 100)}
        metric.process({}, [{**sample, 'pred_instances': found}])
    return metric.evaluate(len(dataset))['coco/bbox_mAP']


@pytest.mark.parametrize('images', [1, 5, 20])
@pytest.mark.parametrize(
    'name',
    [
        lambda number: number - 1,  # as Roboflow counts
        lambda number: f'a{number}',
        lambda number: number - 0.5,
        lambda number: number + 2**60,
        lambda number: -number,
    ],
)
def test_perfect_detections_have_precision_1_whatever_the_ids(tmp_path, images, name):
    content = table(images)
    for entry in content['annotations']:
        entry['id'] = name(entry['id'])
    path = write(tmp_path, content)
    assert precision_of_truth(path, dataset_of(path)) == 1.0


def without(key):
    return lambda entry: entry.pop(key)


@pytest.mark.parametrize(
    'spoil',
    [
        without('area'),
        without('iscrowd'),
        lambda entry: entry.update(area=0),
        lambda entry: entry.update(area=float('nan')),
        lambda entry: entry.update(area='400'),
        lambda entry: entry.update(area=None, iscrowd=None),
        lambda entry: entry.update(iscrowd='False'),
        lambda entry: entry.update(iscrowd=False),
        lambda entry: entry.update(iscrowd='0'),
        lambda entry: entry.update(image_id=str(entry['image_id'])),
        lambda entry: entry.update(category_id=str(entry['category_id'])),
    ],
)
def test_what_is_left_out_is_completed(tmp_path, spoil):
    content = table()
    for entry in content['annotations']:
        spoil(entry)
    path = write(tmp_path, content)
    dataset = dataset_of(path)
    held = [one for i in range(2) for one in dataset.get_data_info(i)['instances']]
    assert len(held) == 4 and not any(one['ignore_flag'] for one in held)
    assert precision_of_truth(path, dataset) == 1.0
    report = check_dataset(dataset, 'train')
    assert 'boxes    4: cat 2, dog 2' in report
    if content != load_coco(path):  # `False` is 0
        assert 'note     4 annotations with' in report


@pytest.mark.parametrize(
    ('said', 'crowd'),
    [
        *(('True', 1), ('1', 1), (' YES ', 1), (1.0, 1), (True, 1), ('1.0', 1)),
        *(('no', 0), ('FALSE', 0), (0.0, 0), ('', 0), (None, 0), (float('nan'), 0)),
    ],
)
def test_crowds(said, crowd):
    content = table()
    content['annotations'][0]['iscrowd'] = said
    found = make_regular(content)['annotations'][0]['iscrowd']
    assert (found, type(found)) == (crowd, int)


@pytest.mark.parametrize('said', ['maybe', 'x', 2, -1, 0.5, [], {'a': 1}])
def test_what_is_neither_crowd_nor_single_is_refused(tmp_path, said):
    content = table()
    content['annotations'][1]['iscrowd'] = said
    path = write(tmp_path, content)
    for read in (read_coco, dataset_of):
        with pytest.raises(UserError) as caught:
            read(path)
        message = f'{path}: annotations: id 2: iscrowd is {said!r}. Write 1'
        assert message in str(caught.value)


@pytest.mark.parametrize('key', ['images', 'categories'])
@pytest.mark.parametrize('name', [str, lambda number: f'a{number}'])
def test_ids_of_both_kinds_are_evaluated_as_those_of_one(tmp_path, key, name):
    content = table(3)
    content[key][1]['id'] = name(2)
    of_image = {'images': 'image_id', 'categories': 'category_id'}[key]
    for entry in content['annotations']:
        if entry[of_image] == 2:
            entry[of_image] = name(2)
    path = write(tmp_path, content)
    dataset = dataset_of(path)
    assert precision_of_truth(path, dataset) == 1.0
    report = check_dataset(dataset, 'train')
    assert f'{key}: some ids are numbers and some are texts' in report
    assert 'boxes    6: cat 3, dog 3' in report


@pytest.mark.parametrize('key', ['images', 'categories'])
def test_two_ids_that_differ_in_kind_alone_are_refused(tmp_path, key):
    content = table()
    content[key][1]['id'] = ' 1'
    path = write(tmp_path, content)
    with pytest.raises(
        UserError, match=rf"boxes\.json: {key}: two have the id '1', one"
    ):
        read_coco(path)


def test_what_is_regular_is_left_as_it_is():
    content = table()
    content['annotations'][1].update(area=350.5, iscrowd=1, score=3)
    notes = []
    before = json.dumps(content)
    assert json.dumps(make_regular(content, notes)) == before
    assert notes == []


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-le'])
def test_any_utf_is_read(tmp_path, encoding):
    path = write(tmp_path, table(), encoding=encoding)
    assert read_coco_names(path)[0] == ['cat', 'dog']
    assert len(dataset_of(path)) == len(read_coco(path)[1]) == 2


def taxonomy():
    """Two classes below inner nodes, and those below a root, which is Roboflow's."""
    content = table()
    for one, above in zip(content['categories'], ('felines', 'canines'), strict=True):
        one['supercategory'] = above
    content['categories'] = [
        {'id': 0, 'name': 'pets', 'supercategory': 'none'},
        {'id': 3, 'name': 'felines', 'supercategory': 'pets'},
        *content['categories'],
        {'id': 4, 'name': 'canines', 'supercategory': 'pets'},
    ]
    return content


def test_a_grouping_category_is_no_class(tmp_path):
    content = taxonomy()
    path = write(tmp_path, content)
    groups = ['pets', 'felines', 'canines']
    assert read_coco_names(path) == (['cat', 'dog'], groups)
    report = check_dataset(dataset_of(path), 'train')
    for name in groups:
        assert f'category {name!r} has no annotations and only groups' in report
    named = dataset_of(path, ('pets', 'cat', 'dog'))  # by who wants it all the same
    assert 'boxes    4: cat 2, dog 2, pets 0' in check_dataset(named, 'train')

    content['annotations'][0]['category_id'] = 0  # it is a class after all
    path = write(tmp_path, content)
    assert read_coco_names(path) == (['pets', 'cat', 'dog'], groups[1:])


def test_a_supercategory_that_is_its_own_is_a_class(tmp_path):
    content = table()
    for one in content['categories']:
        one['supercategory'] = 'cat'  # as COCO's person, of the supercategory person
    content['annotations'] = []
    assert read_coco_names(write(tmp_path, content)) == (['cat', 'dog'], [])


def run_on(folder, train, val):
    """A config of two COCO files that leaves the classes open."""
    loaders = {}
    for split, content in (('train', train), ('val', val)):
        (folder / split).mkdir()
        dataset = {
            'type': 'CocoDataset',
            'ann_file': str(write(folder / split, content)),
            'data_prefix': {'img': str(folder / split)},
        }
        loaders[f'{split}_dataloader'] = {'dataset': dataset}
    return Config({'model': {'num_classes': 80}, **loaders})


def test_grouping_is_decided_once_for_all_splits(tmp_path):
    used = taxonomy()
    used['annotations'][0]['category_id'] = 0
    (tmp_path / 'a').mkdir()
    config = run_on(tmp_path / 'a', train=used, val=taxonomy())
    resolve_classes(config)
    val = config.val_dataloader.dataset
    assert val.metainfo.classes == ('pets', 'cat', 'dog')
    dataset = dataset_of(Path(val.ann_file), val.metainfo.classes)
    assert 'boxes    4: cat 2, dog 2, pets 0' in check_dataset(dataset, 'val')

    (tmp_path / 'b').mkdir()
    config = run_on(tmp_path / 'b', train=taxonomy(), val=used)
    with pytest.raises(UserError) as caught:
        resolve_classes(config)
    message = str(caught.value)
    assert "val_dataloader.dataset: 'pets' is a category with annotations" in message
    assert str(tmp_path / 'b/train/boxes.json') in message
    for split in ('train', 'val'):
        config[f'{split}_dataloader'].dataset.metainfo = {'classes': ('cat', 'dog')}
    config.model.num_classes = 2
    resolve_classes(config)


def test_a_root_of_the_classes_name_is_that_class(tmp_path):
    content = table()
    content['categories'] = [
        {'id': 0, 'name': 'pets', 'supercategory': 'none'},
        {'id': 1, 'name': 'pets', 'supercategory': 'pets'},
    ]
    for entry in content['annotations']:
        entry['category_id'] = 1
    path = write(tmp_path, content)
    assert read_coco_names(path) == (['pets'], [])
    dataset = dataset_of(path, ('pets',))
    assert precision_of_truth(path, dataset) == 1.0
    assert "2 categories are named 'pets'" in check_dataset(dataset, 'train')


def test_both_of_two_categories_of_one_name_are_trained(tmp_path):
    content = table()
    content['categories'][1]['name'] = 'cat'
    path = write(tmp_path, content)
    dataset = dataset_of(path, ('cat',))
    labels = [one['bbox_label'] for one in dataset.get_data_info(0)['instances']]
    assert labels == [0, 0]
    assert "2 categories are named 'cat'" in check_dataset(dataset, 'train')
    assert precision_of_truth(path, dataset) == 1.0


def test_names_that_are_numbers(tmp_path):
    content = table()
    for one in content['categories']:
        one['name'] = one['id']
    path = write(tmp_path, content)
    loader = {
        'dataset': {
            'type': 'CocoDataset',
            'ann_file': str(path),
            'data_prefix': {'img': str(tmp_path)},
        }
    }
    config = Config({'model': {'num_classes': 80}, 'train_dataloader': loader})
    resolve_classes(config)
    assert config.train_dataloader.dataset.metainfo.classes == ('1', '2')
    dataset = dataset_of(path, ('1', '2'))
    assert len(dataset.get_data_info(0)['instances']) == 2
    assert 'boxes    4: 1 2, 2 2' in check_dataset(dataset, 'train')


@pytest.mark.parametrize('side', [-1, 0, '100', None, float('nan')])
def test_a_size_that_is_none_is_refused(tmp_path, side):
    content = table()
    content['images'][1]['width'] = side
    path = write(tmp_path, content)
    with pytest.raises(UserError, match=r'boxes.json: images: id 2'):
        read_coco(path)


def test_oddities_are_said_by_name(tmp_path):
    content = table()
    content['categories'][1]['name'] = 'Cat'
    first, second, *_ = content['annotations']
    second.update(bbox=first['bbox'], category_id=1)
    content['images'].append({**content['images'][0], 'id': 9})
    report = check_dataset(dataset_of(write(tmp_path, content), ('cat', 'Cat')), 'val')
    assert "differ by case or spaces alone: 'cat' and 'Cat'" in report
    assert '1 boxes are there twice: annotation 2 in 0.png' in report
    assert '1 images are listed more than once: 0.png' in report
    assert '1 of them once with and once without objects: 0.png' in report


def test_corners_are_recognised(tmp_path):
    content = table(images=4, objects=2)
    rng = np.random.default_rng(0)
    for entry in content['annotations']:
        x, y = rng.integers(45, 75, 2).tolist()
        entry['bbox'] = [x, y, x + 20, y + 20]
    report = check_dataset(dataset_of(write(tmp_path, content)), 'train')
    assert '8 of 8 boxes reach beyond their image' in report
    assert 'Does bbox hold corners' in report


def test_an_ordinary_file_has_no_notes(tmp_path):
    assert 'note' not in check_dataset(dataset_of(write(tmp_path, table())), 'train')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'image_id': [1]}, 'id 1: image_id is [1], neither number nor text'),
        ({'category_id': {'id': 1}}, "category_id is {'id': 1}, neither number nor"),
        ({'bbox': []}, 'bbox is [], not four numbers'),
        ({'bbox': [[1, 2], [3, 4]]}, 'bbox is [[1, 2], [3, 4]], not four numbers'),
        ({'bbox': None}, "id 1: an entry has no 'bbox'"),
    ],
)
def test_a_key_of_another_shape_is_refused(tmp_path, change, message):
    content = table()
    content['annotations'][0].update(change)
    path = write(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read_coco(path)
    assert f'{path}: annotations: ' in str(caught.value)
    assert message in str(caught.value)


def test_names_that_are_written_as_in_an_url_are_said(tmp_path):
    content = table()
    content['images'][0]['file_name'] = 'a b.png'
    path = write(tmp_path, content)
    path.write_text(path.read_text().replace('a b.png', 'a%20b.png'))
    with pytest.raises(
        UserError, match=r'a%20b\.png\. Their names are written as in an'
    ):
        check_dataset(dataset_of(path), 'train')
