"""Which detection finds which object, what the others are, and what each kind costs.

The oracles are pycocotools, and figures of tidecv 1.0.1, the implementation of TIDE's
authors, on the same drawn detections. (Where a recall is one of COCO's 101 to the last
bit but one, tidecv's AP is not COCO's; these seeds have none.)
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmfrcnn.evaluation.ledger.mistakes import NAMES
from mmfrcnn.evaluation.ledger.regained import average_precision, regained

from .drawn import CLASSES, draw, pages_of

FIXTURE = Path(__file__).resolve().parents[4] / 'shared/data/cocoeval_fixture'
# Seed: AP in percent; of each kind how many there are, and the AP that it costs.
TIDE = {
    12: (
        42.778221927739345,
        {
            'wrong_class': (13, 3.160546),
            'poor_box': (24, 9.861234),
            'wrong_class_and_box': (10, 4.221797),
            'duplicate': (34, 2.176114),
            'background': (21, 3.665908),
            'missed': (21, 13.133539),
        },
    ),
    19: (
        30.590809497025134,
        {
            'wrong_class': (23, 8.232612),
            'poor_box': (27, 10.529077),
            'wrong_class_and_box': (10, 1.894222),
            'duplicate': (48, 5.189186),
            'background': (16, 3.406685),
            'missed': (18, 7.480139),
        },
    ),
}


def evaluate(truth: dict, found: list[dict], iou: float) -> COCOeval:
    """Evaluate at one IoU with pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(found), 'bbox')
        evaluator.params.iouThrs = np.array([iou])
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def mean_ap(evaluator: COCOeval) -> float:
    precision = evaluator.eval['precision'][0, :, :, 0, -1]
    return precision[precision > -1].mean()


def found_by_coco(evaluator: COCOeval, annotations: list[dict]) -> set[int]:
    """Return the ids of the objects that a detection finds, of any size."""
    crowds = {one['id'] for one in annotations if one['iscrowd']}
    area = evaluator.params.areaRng[0]
    ids = set()
    for image in evaluator.evalImgs:
        if image and image['aRng'] == area:
            ids |= {int(i) for i in image['dtMatches'][0]} - {0} - crowds
    return ids


@pytest.mark.parametrize('iou', [0.5, 0.75])
@pytest.mark.parametrize('seed', range(5))
def test_objects_found_and_ap_are_cocos(seed, iou):
    truth, found = draw(seed, crowds=True)
    pages = pages_of(truth, found, iou)
    evaluator = evaluate(truth, found, iou)
    ids = {}
    for one in truth['annotations']:
        if not one['iscrowd']:
            ids.setdefault(one['image_id'], []).append(one['id'])
    ours = {
        ids[page.image_id][index]
        for page in pages
        for index in page.about[page.kinds == NAMES.index('true')]
    }
    assert ours == found_by_coco(evaluator, truth['annotations'])
    assert 15 < len(ours) < len(truth['annotations'])
    assert regained(pages, CLASSES)['AP'] == pytest.approx(
        mean_ap(evaluator), abs=1e-12
    )
    ignored = sum((page.kinds == NAMES.index('ignored')).sum() for page in pages)
    assert ignored > 0


@pytest.mark.skipif(not FIXTURE.is_dir(), reason=f'needs {FIXTURE}')
def test_the_published_example_has_cocos_ap():
    truth = json.loads((FIXTURE / 'instances_val2014_100.json').read_text())
    name = 'instances_val2014_fakebbox100_results.json'
    found = json.loads((FIXTURE / name).read_text())
    pages = pages_of(truth, found, 0.5)
    result = regained(pages, len(truth['categories']))
    assert result['AP'] == pytest.approx(0.697, abs=5e-4)  # published
    assert result['AP'] == pytest.approx(
        mean_ap(evaluate(truth, found, 0.5)), abs=1e-12
    )


@pytest.mark.parametrize('seed', TIDE)
def test_kinds_and_what_they_cost_are_tides(seed):
    ap, kinds = TIDE[seed]
    pages = pages_of(*draw(seed), 0.5)
    result = regained(pages, CLASSES)
    assert 100 * result['AP'] == pytest.approx(ap, abs=1e-6)
    counts = Counter(NAMES[kind] for page in pages for kind in page.kinds)
    for name, (count, cost) in kinds.items():
        assert 100 * result['detections'][name] == pytest.approx(cost, abs=1e-5), name
        if name != 'missed':
            assert counts[name] == count, name


def test_an_object_lost_is_not_asked_for():
    """Of two objects of a class one is found: without the other, all are."""
    truth, found = draw(0, images=1)
    box = [10, 10, 20, 20]
    truth['annotations'] = [
        dict(id=1, image_id=1, category_id=1, bbox=box, iscrowd=0, area=400),
        dict(id=2, image_id=1, category_id=1, bbox=[90, 90, 9, 9], iscrowd=0, area=81),
    ]
    found = [dict(image_id=1, category_id=1, bbox=box, score=0.5)]
    result = regained(pages_of(truth, found, 0.5), CLASSES)
    assert result['AP'] == pytest.approx(51 / 101)  # recalls 0, .01, ... .5
    assert result['objects']['class'] == pytest.approx(50 / 101)
    assert result['objects']['anchors'] == 0
    assert result['detections']['missed'] == pytest.approx(50 / 101)


@pytest.mark.parametrize(
    'what', ['no detections', 'no objects', 'only crowds', 'no images']
)
def test_nothing(what):
    truth, found = draw(1, crowds=True)
    if what == 'no detections':
        found = []
    if what == 'no objects':
        truth['annotations'] = []
    if what == 'only crowds':
        for one in truth['annotations']:
            one['iscrowd'] = 1
    if what == 'no images':
        truth['images'] = []
    pages = pages_of(truth, found, 0.5)
    result = regained(pages, CLASSES)
    counts = Counter(NAMES[kind] for page in pages for kind in page.kinds)
    if what == 'no detections':
        assert result['AP'] == 0 and not counts
        assert result['detections']['missed'] == 1  # nothing asked, nothing wrong
    else:
        assert result['AP'] == -1
        assert set(counts) <= {'background', 'ignored'}


def test_average_precision_by_hand():
    # Found, false, found, of three: precision 1 up to recall 1/3, then 2/3.
    true = np.array([True, False, True])
    assert average_precision(true, 3) == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)
    assert average_precision(np.zeros(0, bool), 2) == 0
