"""The evaluator's file must fit the data set; what it cannot use is left out."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.registry import init_default_scope

from mmfrcnn.data.checks.coco_metrics import _check, check_metrics
from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.errors import UserError


def test_the_evaluators_file_must_fit_the_data_set(make_coco):
    config = make_coco()
    dataset = CocoDataset(**config)
    api = CocoMetric(ann_file=config['ann_file'])._coco_api
    _check(dataset, api, 'key')
    del api.imgs[2]
    with pytest.raises(UserError, match=r'1 of 2 images of .* first the id 2'):
        _check(dataset, api, 'key')
    api = CocoMetric(ann_file=config['ann_file'])._coco_api
    api.dataset['categories'].pop()
    with pytest.raises(UserError, match='of the classes it has Cat; the data set'):
        _check(dataset, api, 'key')


@pytest.mark.parametrize('views', [False, True])
def test_without_a_file_the_images_must_bring_their_ground_truth(make_coco, views):
    init_default_scope('mmdet')
    keys = ('img_id', 'img_path', 'ori_shape')
    for given in (keys, (*keys, 'instances')):
        packed = dict(type='PackDetInputs', meta_keys=given)
        if views:
            flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
            packed = dict(type='TestTimeAug', transforms=[flips, [packed]])
        loading = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
        dataset = CocoDataset(**(make_coco() | {'pipeline': [*loading, packed]}))
        loop = SimpleNamespace(
            dataloader=SimpleNamespace(dataset=dataset),
            evaluator=SimpleNamespace(metrics=[CocoMetric()]),
        )
        if 'instances' in given:
            check_metrics(loop, 'val')
            continue
        with pytest.raises(
            UserError, match=r"val_evaluator has no ann_file.*'instances'"
        ):
            check_metrics(loop, 'val')


def test_a_box_that_is_no_number_is_not_evaluated(make_coco):
    config = make_coco([(1, 5, 5, 10, 10), (1, 5, 5, math.nan, 10)])
    api = CocoMetric(ann_file=config['ann_file'])._coco_api
    assert [one['bbox'] for one in api.anns.values()] == [[5, 5, 10, 10]]


def test_the_report_counts_what_the_data_set_holds(make_coco):
    config = make_coco([(1, 5, 5, 10, 10), (2, 5, 5, 10, 10)])
    dataset = CocoDataset(**config, serialize_data=False)
    dataset.data_list[0]['instances'].pop()
    report = check_dataset(dataset, 'train')
    assert 'boxes    1: Cat 1, Dog 0' in report
    assert '1 of 2 usable boxes of the file are not in the data set' in report
