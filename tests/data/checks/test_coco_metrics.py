"""The evaluator's file must fit the data set; what it cannot use is left out."""

from __future__ import annotations

import math

import pytest
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric

from mmfrcnn.data.checks.coco_metrics import _check
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
