"""Average recall of proposals against pycocotools, class-agnostic."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import mmfrcnn  # noqa: F401  (it registers the metric)
from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.proposal_recall import ProposalRecall

NUMBERS = (1, 7, 100)


def draw_truth(seed: int) -> dict:
    """Images with crowds, several classes, equal boxes, and some with nothing."""
    rng = np.random.default_rng(seed)
    images = [{'id': i, 'width': 200, 'height': 160} for i in range(1, 13)]
    annotations = []
    for image in images[:-2]:  # two are empty
        for _ in range(rng.integers(1, 8)):
            x, y = rng.integers(0, 120, 2).tolist()
            w, h = rng.integers(8, 80, 2).tolist()
            again = 2 if rng.random() < 0.2 else 1
            for _ in range(again):  # two objects of the same box, sometimes
                annotations.append(
                    {
                        'id': len(annotations) + 1,
                        'image_id': image['id'],
                        'category_id': int(rng.integers(1, 4)),
                        'bbox': [x, y, w, h],
                        'area': w * h,
                        'iscrowd': int(rng.random() < 0.15),
                    }
                )
    categories = [{'id': i, 'name': f'class {i}'} for i in (1, 2, 3)]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def draw_proposals(gt: dict, seed: int, most: int = 150) -> dict[int, tuple]:
    """Objects displaced by various amounts, and noise; equal scores among them."""
    rng = np.random.default_rng(seed)
    found = {}
    for image in gt['images']:
        own = [a['bbox'] for a in gt['annotations'] if a['image_id'] == image['id']]
        near = np.repeat(np.array(own, float).reshape(-1, 4), 3, 0)
        near += (
            rng.normal(0, 9, near.shape).round()
            * (rng.random(len(near)) < 0.95)[:, None]
        )
        noise = rng.integers(1, 120, (20, 4)).astype(float)
        boxes = np.concatenate([near, noise])
        boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:].clip(1)
        boxes = boxes[rng.permutation(len(boxes))[:most]]
        scores = rng.integers(0, 12, len(boxes)) / 12
        found[image['id']] = (boxes.astype(np.float32), scores.astype(np.float32))
    return found


def ours(path: Path, gt: dict, found: dict[int, tuple], numbers=NUMBERS) -> dict:
    metric = ProposalRecall(str(path), proposal_nums=numbers)
    metric.dataset_meta = {'classes': [c['name'] for c in gt['categories']]}
    for image in gt['images']:
        boxes, scores = found[image['id']]
        instances = {
            'bboxes': torch.from_numpy(boxes),
            'scores': torch.from_numpy(scores),
            'labels': torch.zeros(len(boxes), dtype=torch.int64),
        }
        sample = {
            'img_id': image['id'],
            'ori_shape': (image['height'], image['width']),
            'pred_instances': instances,
        }
        metric.process({}, [sample])
    return metric.evaluate(len(gt['images']))


def theirs(path: Path, found: dict[int, tuple], numbers=NUMBERS) -> dict:
    """pycocotools, asked as COCO's AR is: without categories."""
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(str(path))
        rows = [
            {
                'image_id': image,
                'category_id': 1,
                'bbox': [*box[:2], *(box[2:] - box[:2])],
                'score': float(score),
            }
            for image, (boxes, scores) in found.items()
            for box, score in zip(boxes.astype(float), scores, strict=True)
        ]
        evaluation = COCOeval(gt, gt.loadRes(rows), 'bbox')
        evaluation.params.useCats = 0
        evaluation.params.maxDets = list(numbers)
        evaluation.evaluate()
        evaluation.accumulate()
    recall = evaluation.eval['recall']  # (T, 1, areas, numbers)
    return {f'coco/AR@{n}': recall[:, 0, 0, i].mean() for i, n in enumerate(numbers)}


@pytest.mark.parametrize('seed', range(4))
def test_equals_pycocotools(tmp_path: Path, seed: int) -> None:
    gt = draw_truth(seed)
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(gt))
    found = draw_proposals(gt, seed + 100)
    expected = theirs(path, found)
    assert 0.02 < expected['coco/AR@7'] < expected['coco/AR@100'] < 0.9
    assert ours(path, gt, found) == pytest.approx(expected, abs=1e-9)


def test_equals_pycocotools_on_real_annotations(repo_root: Path) -> None:
    path = repo_root.parent / 'shared/data/coco_tiny50/annotations'
    path = next(iter(sorted(path.glob('*val*.json'))), None) if path.is_dir() else None
    if path is None:
        pytest.skip('no real data: ../shared/data/coco_tiny50 is absent')
    gt = json.loads(path.read_text())
    found = draw_proposals(gt, 3)
    expected = theirs(path, found, (10, 100))
    assert ours(path, gt, found, (10, 100)) == pytest.approx(expected, abs=1e-9)


def test_nothing_to_find_and_nothing_found(tmp_path: Path) -> None:
    gt = draw_truth(0)
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(gt))
    nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    blind = {image['id']: nothing for image in gt['images']}
    assert set(ours(path, gt, blind).values()) == {0.0}
    found = draw_proposals(gt, 1)
    gt['annotations'] = []
    path.write_text(json.dumps(gt))
    assert set(ours(path, gt, found).values()) == {-1.0}


def test_ground_truth_of_the_data_samples(tmp_path: Path) -> None:
    """Without an annotation file, as with Pascal VOC: the same figures."""
    gt = draw_truth(2)
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(gt))
    found = draw_proposals(gt, 2)
    metric = ProposalRecall(proposal_nums=NUMBERS)
    metric.dataset_meta = {'classes': [c['name'] for c in gt['categories']]}
    for image in gt['images']:
        boxes, scores = map(torch.from_numpy, found[image['id']])
        labels = torch.zeros(len(boxes), dtype=torch.int64)
        instances = [
            {
                'bbox': [x, y, x + w, y + h],
                'bbox_label': a['category_id'] - 1,
                'ignore_flag': a['iscrowd'],
            }
            for a in gt['annotations']
            if a['image_id'] == image['id']
            for x, y, w, h in [a['bbox']]
        ]
        sample = {
            'img_id': image['id'],
            'ori_shape': (image['height'], image['width']),
            'instances': instances,
            'pred_instances': dict(bboxes=boxes, scores=scores, labels=labels),
        }
        metric.process({}, [sample])
    result = metric.evaluate(len(gt['images']))
    assert result == pytest.approx(theirs(path, found), abs=1e-9)


def test_detections_are_not_taken_for_proposals() -> None:
    """Of a detector of two stages these are what its second stage made of them."""
    found = dict(
        bboxes=torch.zeros(2, 4), scores=torch.ones(2), labels=torch.tensor([0, 1])
    )
    metric = ProposalRecall()
    with pytest.raises(UserError, match='ledger'):
        metric.process({}, [dict(img_id=1, pred_instances=found)])
