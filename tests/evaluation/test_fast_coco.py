"""The faster engine against pycocotools, through mmdet's metric."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS

import mmfrcnn  # noqa: F401
from mmfrcnn.errors import UserError
from tests.evaluation.figures.oracle import drawn

needs_hotcoco = pytest.mark.skipif(
    not importlib.util.find_spec('hotcoco'),
    reason="needs the optional package hotcoco: pip install -e '.[fast-eval]'",
)


def evaluate(kind: str, path, truth: dict, found: list[dict], **options) -> dict:
    metric = METRICS.build(
        dict(type=kind, ann_file=str(path), classwise=True, **options)
    )
    names = tuple(one['name'] for one in truth['categories'])
    metric.dataset_meta = {'classes': names}
    for image in truth['images']:
        own = [one for one in found if one['image_id'] == image['id']]
        boxes = torch.tensor([one['bbox'] for one in own]).float().reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances = {
            'bboxes': boxes,
            'scores': torch.tensor([one['score'] for one in own]),
            'labels': torch.tensor([one['category_id'] - 1 for one in own]).long(),
        }
        sample = dict(
            img_id=image['id'], ori_shape=(400, 400), pred_instances=instances
        )
        metric.process({}, [sample])
    return metric.evaluate(len(truth['images']))


@needs_hotcoco
@pytest.mark.parametrize('options', [{}, dict(proposal_nums=(1, 10, 100))])
@pytest.mark.parametrize('seed', range(3))
def test_figures_are_pycocotools(seed, options, tmp_path):
    truth, found = drawn(seed)
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(truth))
    ours = evaluate('FastCocoMetric', path, truth, found, **options)
    assert ours == pytest.approx(
        evaluate('CocoMetric', path, truth, found, **options), abs=0, nan_ok=True
    )
    assert 0 < ours['coco/bbox_mAP'] < 1


@needs_hotcoco
def test_every_precision_is_pycocotools():
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from mmfrcnn.evaluation.fast_coco import FastEvaluator

    truth, found = drawn(4, images=60)
    for names in (lambda i: i, lambda i: f'image {i}'):  # VOC's ids are texts
        coco = COCO()
        coco.dataset = {
            **truth,
            'images': [one | {'id': names(one['id'])} for one in truth['images']],
            'annotations': [
                one | {'image_id': names(one['image_id'])}
                for one in truth['annotations']
            ],
        }
        coco.createIndex()
        results = coco.loadRes(
            [one | {'image_id': names(one['image_id'])} for one in found]
        )
        both = []
        for kind in (COCOeval, FastEvaluator):
            evaluator = kind(coco, results, 'bbox')
            evaluator.evaluate()
            evaluator.accumulate()
            evaluator.summarize()
            both.append(evaluator)
        for name in ('precision', 'recall'):
            np.testing.assert_array_equal(both[0].eval[name], both[1].eval[name])
        np.testing.assert_array_equal(both[0].stats, both[1].stats)


@needs_hotcoco
def test_masks_are_refused():
    with pytest.raises(UserError, match='take CocoMetric'):
        METRICS.build(dict(type='FastCocoMetric', metric='segm'))


def test_without_it_a_line_says_so(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: name != 'hotcoco' and find(name)
    )
    with pytest.raises(UserError, match=r'pip install .mmfrcnn\[fast-eval\]'):
        METRICS.build(dict(type='FastCocoMetric'))
