"""Class names from annotations, and num_classes that follows or is checked."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn.data.formats.coco.read import read_coco, read_coco_names
from mmfrcnn.errors import UserError


def make_config(train: dict, val: dict | None = None, num_classes=80) -> Config:
    head = {'num_classes': num_classes}
    model = {
        'rpn_head': {'num_classes': 1},
        'backbone': {'num_classes': 1000},
        'roi_head': {'bbox_head': [head, dict(head)], 'mask_head': dict(head)},
    }
    wrapped = {'type': 'RepeatDataset', 'times': 2, 'dataset': train}
    return Config(
        {
            'model': model,
            'train_dataloader': {'dataset': wrapped},
            'val_dataloader': {'dataset': val or deepcopy(train)},
        }
    )


def open_coco(make_coco) -> dict:
    config = make_coco() | {'type': 'CocoDataset'}
    del config['metainfo']
    return config


def refusal(config) -> str:
    with pytest.raises(UserError) as caught:
        resolve_classes(config)
    return str(caught.value)


def test_names_of_a_coco_file_are_filled_in_and_the_heads_follow(make_coco):
    config, said = make_config(open_coco(make_coco)), []
    resolve_classes(config, said.append)
    train = config.train_dataloader.dataset.dataset
    for dataset in (train, config.val_dataloader.dataset):
        assert dataset.metainfo.classes == ('Cat', 'Dog')
    heads = config.model.roi_head
    assert [head.num_classes for head in (*heads.bbox_head, heads.mask_head)] == [2] * 3
    assert config.model.rpn_head.num_classes == 1
    assert config.model.backbone.num_classes == 1000
    assert len(said) == 1 and 'Cat, Dog' in said[0] and 'from 80' in said[0]
    resolve_classes(config, said.append)  # now they are given
    assert len(said) == 1


def test_names_of_val_are_those_of_train(make_voc):
    train = make_voc([('Cat', 1, 1, 9, 9), ('Dog', 1, 1, 9, 9)]) | {
        'type': 'VocXmlDataset'
    }
    del train['metainfo']
    val = deepcopy(train) | {'ann_file': 'not there.txt'}
    config = make_config(train, val)
    resolve_classes(config)
    assert config.val_dataloader.dataset.metainfo.classes == ('Cat', 'Dog')
    given = make_config(train | {'metainfo': {'classes': ('Dog',)}}, val, num_classes=1)
    resolve_classes(given)
    assert given.val_dataloader.dataset.metainfo.classes == ('Dog',)
    assert given.model.roi_head.mask_head.num_classes == 1


def test_given_names_must_agree_with_the_heads(make_coco):
    config = make_config(make_coco() | {'type': 'CocoDataset'})
    message = refusal(config)
    assert 'model.roi_head.bbox_head.0.num_classes is 80' in message
    assert '2 classes (Cat, Dog). Set it to 2' in message
    resolve_classes(make_config(make_coco() | {'type': 'CocoDataset'}, num_classes=2))


def test_cocos_own_names_stay_where_the_file_has_them_or_is_absent(make_coco, tmp_path):
    absent = {'type': 'CocoDataset', 'ann_file': str(tmp_path / 'none.json')}
    config = make_config(absent)
    resolve_classes(config)
    assert 'metainfo' not in config.val_dataloader.dataset
    names = CocoDataset.METAINFO['classes']
    path = Path(open_coco(make_coco)['ann_file'])
    content = json.loads(path.read_text())
    content['categories'] = [{'id': i, 'name': name} for i, name in enumerate(names)]
    path.write_text(json.dumps(content))
    config = make_config({'type': 'CocoDataset', 'ann_file': str(path)})
    resolve_classes(config)
    assert config.model.roi_head.mask_head.num_classes == 80


def test_what_cannot_be_read_or_differs_is_refused(make_voc, tmp_path):
    train = make_voc() | {'type': 'VocXmlDataset', 'ann_file': 'none.txt'}
    del train['metainfo']
    message = refusal(make_config(train))
    assert message.startswith('train_dataloader.dataset.dataset: ')
    assert 'none.txt: no such list' in message
    other = tmp_path / 'other'
    (other / 'Annotations').mkdir(parents=True)
    xml = (tmp_path / 'Annotations/a.xml').read_text()
    (other / 'Annotations/a.xml').write_text(xml.replace('Cat', 'Cow'))
    (other / 'list.txt').write_text('a')
    train['ann_file'] = 'list.txt'
    pair = [train | {'data_root': str(root)} for root in (tmp_path, other)]
    config = make_config({'type': 'ConcatDataset', 'datasets': pair})
    assert 'name different classes (Cat; Cow)' in refusal(config)


def test_names_of_a_large_file_are_found_at_its_beginning_and_end(make_coco):
    path = Path(open_coco(make_coco)['ann_file'])
    content = json.loads(path.read_text())
    assert read_coco_names(path) == (['Cat', 'Dog'], [])
    path.write_text(json.dumps({'categories': content.pop('categories'), **content}))
    assert read_coco_names(path)[0] == read_coco(path)[0]
    path.write_text('{"categories": 5, "images": [], "annotations": []}')
    with pytest.raises(UserError, match="it has no list 'categories'"):
        read_coco_names(path)
    path.write_text('')
    with pytest.raises(UserError, match='broken JSON'):
        read_coco_names(path)


def test_another_order_than_the_files_is_refused(make_coco):
    config = make_coco([(1, 5, 5, 9, 9), (2, 5, 5, 9, 9)])
    dataset = CocoDataset(**(config | {'metainfo': {'classes': ('Dog', 'Cat')}}))
    assert dataset[0]['instances'][0]['bbox_label'] == 0  # mmdet: a cat is now a "Dog"
    with pytest.raises(UserError, match=r"Write classes=\('Cat', 'Dog'\)"):
        check_dataset(dataset, 'train')


def test_lvis_asks_for_its_package(make_coco, monkeypatch):
    monkeypatch.setattr('mmfrcnn.data.class_names.find_spec', lambda name: None)
    config = make_config(open_coco(make_coco) | {'type': 'LVISV1Dataset'})
    assert 'LVISV1Dataset needs the package lvis' in refusal(config)
