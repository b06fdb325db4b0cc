"""RPN alone, its proposals stored, and Fast R-CNN on them: the tools in a row."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import mmfrcnn  # noqa: F401  (before mmdet)
from mmfrcnn.data.proposals import StoredProposals
from tests.tools import run_tool

from .tiny import make_config

RPN = """
_base_ = './tiny.py'
model = dict(
    _delete_=True, type='RPN', **{
        key: _base_.model[key] for key in
        ('data_preprocessor', 'backbone', 'neck', 'rpn_head', 'train_cfg', 'test_cfg')})
val_evaluator = dict(
    _delete_=True, type='ProposalRecall', ann_file=_base_.val_evaluator.ann_file)
test_evaluator = val_evaluator
"""

FAST = """
_base_ = './tiny.py'
model = dict(rpn_head=None)
stored = dict(type='LoadStoredProposals', file='{file}')
resize, load = _base_.pipeline[1:3]
flip = dict(type='RandomFlip', prob=0.5)
image, pack = _base_.pipeline[0], _base_.pipeline[-1]
train_dataloader = dict(
    dataset=dict(pipeline=[image, resize, load, flip, stored, pack]))
val_dataloader = dict(dataset=dict(pipeline=[image, resize, stored, load, pack]))
test_dataloader = val_dataloader
"""


@pytest.fixture(scope='module')
def proposals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a trained tiny RPN and its proposals; what its test printed."""
    folder = tmp_path_factory.mktemp('strategies')
    make_config(folder)
    config = folder / 'rpn.py'
    config.write_text(RPN)
    result = run_tool('train.py', config, '--work-dir', folder / 'rpn', timeout=300)
    assert result.returncode == 0, result.stderr
    args = [config, folder / 'rpn/epoch_2.pth', folder / 'proposals.npz']
    stored = run_tool('store_proposals.py', *args, timeout=300)
    assert stored.returncode == 0, stored.stderr
    assert 'of 8 images of the train set' in stored.stdout
    tested = run_tool('test.py', *args[:2], '--work-dir', folder / 'test', timeout=300)
    assert tested.returncode == 0, tested.stderr
    return folder, tested.stdout


def average_recall(gt: COCO, proposals: dict) -> float:
    """AR@100 of proposals by image, as pycocotools computes it, all classes one."""
    results = [
        {
            'image_id': image,
            'category_id': 1,
            'bbox': [x1, y1, x2 - x1, y2 - y1],
            'score': score,
        }
        for image, one in proposals.items()
        for (x1, y1, x2, y2), score in zip(
            one.boxes.tolist(), one.scores.tolist(), strict=True
        )
    ]
    evaluation = COCOeval(gt, gt.loadRes(results), 'bbox')
    evaluation.params.useCats = 0
    evaluation.params.maxDets = [1, 10, 100]
    evaluation.evaluate()
    evaluation.accumulate()
    return float(evaluation.eval['recall'][:, 0, 0, 2].mean())


def test_the_rpn_is_measured_by_recall_and_its_proposals_stored(proposals) -> None:
    folder, output = proposals
    recalls = dict(re.findall(r'coco/AR@(\d+): +([\d.]+)', output))
    assert recalls.keys() == {'100', '300', '1000'}
    stored = StoredProposals(folder / 'proposals.npz')
    gt = COCO(str(folder / 'data/train.json'))
    expected = average_recall(gt, {image: stored[image] for image in range(1, 9)})
    assert float(recalls['100']) == pytest.approx(expected, abs=1e-3)
    assert expected > 0
    for image in range(1, 9):
        one = stored[image]
        assert one.size == (96, 128)
        assert len(one.boxes) == 50
        assert (np.diff(one.scores) <= 0).all()
        assert (one.boxes >= 0).all() and (one.boxes <= [128, 96, 128, 96]).all()


def test_fast_rcnn_trains_and_is_tested_on_them(proposals) -> None:
    folder, _ = proposals
    config = folder / 'fast.py'
    config.write_text(FAST.format(file=folder / 'proposals.npz'))
    result = run_tool('train.py', config, '--work-dir', folder / 'fast', timeout=300)
    assert result.returncode == 0, result.stderr
    assert 'loss_cls' in result.stdout
    assert 'loss_rpn' not in result.stdout
    args = [config, folder / 'fast/epoch_2.pth', '--work-dir', folder / 'test']
    result = run_tool('test.py', *args, timeout=300)
    assert result.returncode == 0, result.stderr
    assert 'coco/bbox_mAP: ' in result.stdout


def test_mistakes_are_one_message(proposals) -> None:
    folder, _ = proposals
    config = folder / 'missing.py'
    config.write_text(FAST.format(file=folder / 'nowhere.npz'))
    result = run_tool('train.py', config, '--work-dir', folder / 'x', timeout=300)
    assert result.returncode == 2, result.stderr
    assert 'no such file of proposals: ' in result.stderr
    assert 'Traceback' not in result.stderr
    args = [folder / 'rpn.py', folder / 'rpn/epoch_2.pth', folder / 'p.json']
    result = run_tool('store_proposals.py', *args)
    assert result.returncode == 2
    assert 'written as .npz' in result.stderr
