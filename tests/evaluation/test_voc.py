"""VOC's mAP against the devkit's rules in fractions, from literal to real data."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from mmdet.evaluation import VOCMetric

from mmfrcnn.data.formats.voc import VocXmlDataset
from mmfrcnn.evaluation.voc import PascalVocMetric

from .devkit import Detection, Truth, mean_average_precision

NAMES = ['a', 'b', 'c']
BLOOD_CELLS = ['RBC', 'WBC', 'Platelets']
REAL_DATA = Path(__file__).parents[3] / 'shared' / 'data'


def packed(things, names) -> dict:
    """Return boxes counted from pixel 0, as data sets give them, and labels."""
    boxes = [[side - 1 for side in thing.corners] for thing in things]
    labels = [names.index(thing.name) for thing in things]
    return {
        'bboxes': torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        'labels': torch.tensor(labels, dtype=torch.long),
    }


def evaluate(metric, gts, detections, names=NAMES) -> dict:
    metric.dataset_meta = {'classes': tuple(names)}
    images = sorted({thing.image for thing in [*gts, *detections]})
    for image in images:
        mine = [gt for gt in gts if gt.image == image]
        found = [thing for thing in detections if thing.image == image]
        scores = torch.tensor([thing.score for thing in found])
        sample = {
            'gt_instances': packed([t for t in mine if not t.difficult], names),
            'ignored_instances': packed([t for t in mine if t.difficult], names),
            'pred_instances': {**packed(found, names), 'scores': scores},
        }
        metric.process({}, [sample])
    return metric.evaluate(size=len(images))


def random_set(seed: int) -> tuple[list[Truth], list[Detection]]:
    """Crowded images: difficult objects, duplicates, near misses, one-pixel boxes."""
    rng = random.Random(seed)
    scores = iter(rng.sample(range(1, 10_000), 1_000))

    def box():
        x, y = rng.randint(1, 60), rng.randint(1, 60)
        return x, y, x + rng.randint(0, 30), y + rng.randint(0, 30)

    gts = [
        Truth(str(image), rng.choice(NAMES), box(), rng.random() < 0.25)
        for image in range(6)
        for _ in range(rng.randint(0, 5))
    ]
    detections = [
        Detection(str(rng.randint(0, 6)), rng.choice(NAMES), box(), next(scores) / 1e4)
        for _ in range(rng.randint(0, 10))
    ]
    for gt in gts:
        for _ in range(rng.randint(0, 3)):
            x1, y1, x2, y2 = (side + rng.randint(-4, 4) for side in gt.corners)
            corners = (x1, y1, max(x1, x2), max(y1, y2))
            name = gt.name if rng.random() < 0.85 else rng.choice(NAMES)
            found = Detection(gt.image, name, corners, next(scores) / 1e4)
            detections.append(found)
    return gts, detections


@pytest.mark.parametrize('mode', ['11points', 'area'])
def test_equals_the_devkits_rules_on_random_sets(mode):
    seen = []
    for seed in range(20):
        gts, detections = random_set(seed)
        for threshold in (Fraction(1, 2), Fraction(3, 4)):
            expected = mean_average_precision(
                gts,
                detections,
                NAMES,
                points=mode == '11points',
                threshold=threshold,
            )
            metric = PascalVocMetric(eval_mode=mode, iou_thrs=float(threshold))
            values = evaluate(metric, gts, detections)
            assert values['pascal_voc/mAP'] == pytest.approx(expected, abs=1e-9), seed
            seen.append(expected)
    assert np.std(seen) > 0.05  # the sets are not all alike


def test_literal_ranking_with_difficult_and_duplicate():
    box, other, hard = (1, 1, 10, 10), (21, 1, 30, 10), (41, 1, 50, 10)
    gts = [Truth('0', 'a', box), Truth('0', 'a', other), Truth('0', 'a', hard, True)]
    detections = [
        Detection('0', 'a', hard, 0.9),  # neither way
        Detection('0', 'a', box, 0.8),  # true: recall 1/2, precision 1
        Detection('0', 'a', hard, 0.7),  # neither way, again
        Detection('0', 'a', box, 0.6),  # a duplicate: precision 1/2
        Detection('0', 'a', other, 0.5),  # true: recall 1, precision 2/3
    ]
    values = evaluate(PascalVocMetric('area'), gts, detections)
    assert values['pascal_voc/mAP'] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    values = evaluate(PascalVocMetric('11points'), gts, detections)
    assert values['pascal_voc/mAP'] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_sides_include_their_last_pixel():
    """10 of 20 columns: IoU 1/2 with the last pixel, 9/19 without."""
    gts = [Truth('0', 'a', (1, 1, 20, 10))]
    detections = [Detection('0', 'a', (1, 1, 10, 10), 0.5)]
    assert evaluate(PascalVocMetric(), gts, detections)['pascal_voc/mAP'] == 1


def test_three_of_ten_reach_recall_three_tenths():
    """mmdet's own 11 points miss one here; were it mended, ours could go."""
    boxes = [(1 + 20 * k, 1, 10 + 20 * k, 10) for k in range(10)]
    gts = [Truth('0', 'a', box) for box in boxes]
    detections = [
        Detection('0', 'a', box, 0.5 + k / 100) for k, box in enumerate(boxes[:3])
    ]
    values = evaluate(PascalVocMetric('11points'), gts, detections)
    assert values['pascal_voc/mAP'] == pytest.approx(4 / 11)
    theirs = evaluate(VOCMetric(eval_mode='11points'), gts, detections)
    assert theirs['pascal_voc/mAP'] == pytest.approx(3 / 11)


def test_every_emptiness():
    box = (1, 1, 10, 10)
    gt, found = Truth('0', 'a', box), Detection('0', 'a', box, 0.5)
    for mode in ('11points', 'area'):

        def value(gts, detections, mode=mode):
            return evaluate(PascalVocMetric(mode), gts, detections)['pascal_voc/mAP']

        assert value([gt], []) == 0
        assert value([], [found]) == 0
        assert value([Truth('0', 'a', box, True)], [found]) == 0
        assert value([gt], [found]) == 1
        # A class without objects, or with difficult ones alone, is not averaged over.
        assert value([gt, Truth('0', 'b', box, True)], [found]) == 1
        assert value([gt, Truth('1', 'b', box)], [found]) == 0.5


def test_several_thresholds_are_averaged_and_named():
    gts = [Truth('0', 'a', (1, 1, 10, 10))]
    detections = [Detection('0', 'a', (1, 1, 10, 6), 0.5)]  # IoU 0.6
    metric = PascalVocMetric(iou_thrs=[0.5, 0.58, 0.7])
    values = evaluate(metric, gts, detections)
    assert values == {
        'pascal_voc/mAP': pytest.approx(2 / 3),
        'pascal_voc/AP50': 1,
        'pascal_voc/AP58': 1,
        'pascal_voc/AP70': 0,
    }


def truths_from_xml(folder: Path, split: str) -> list[Truth]:
    """Read the XML files apart from the package's reader; every fifth is difficult."""
    gts = []
    for name in (folder / f'ImageSets/Main/{split}.txt').read_text().split():
        root = ElementTree.parse(folder / 'Annotations' / f'{name}.xml')
        for node in root.iter('object'):
            corners = tuple(int(side.text) for side in node.find('bndbox'))
            gts.append(Truth(name, node.findtext('name'), corners))
    return gts


def perturbed(gts: list[Truth], seed: int) -> list[Detection]:
    """Noisy copies of the truth, some twice, some of a wrong class, some nowhere."""
    rng = np.random.default_rng(seed)
    detections = []
    for gt in gts:
        for _ in range(rng.integers(0, 3)):
            x1, y1, x2, y2 = np.array(gt.corners) + rng.normal(0, 8, 4).round()
            corners = (x1, y1, max(x1, x2), max(y1, y2))
            wrong = rng.random() < 0.1
            name = str(rng.choice(BLOOD_CELLS)) if wrong else gt.name
            found = Detection(gt.image, name, corners, float(rng.random()))
            detections.append(found)
    return detections


@pytest.mark.parametrize('hard', [False, True])
def test_equals_the_devkits_rules_on_real_blood_cells(hard):
    """From the files to mAP: our reader and metric, and neither."""
    folder = REAL_DATA / 'bccd'
    if not folder.exists():
        pytest.skip(f'needs the real data in {folder}')
    gts = truths_from_xml(folder, 'test')
    for gt in gts[:: 5 if hard else len(gts) + 1][hard is False :]:
        gt.difficult = True
    detections = perturbed(gts, seed=0)
    dataset = VocXmlDataset(
        data_root=str(folder),
        ann_file='ImageSets/Main/test.txt',
        data_prefix={'sub_data_root': ''},
        metainfo={'classes': tuple(BLOOD_CELLS)},
        test_mode=True,
        pipeline=[],
    )
    read = [
        (info['img_id'], BLOOD_CELLS[thing['bbox_label']], thing['bbox'])
        for info in map(dataset.get_data_info, range(len(dataset)))
        for thing in info['instances']
    ]
    assert len(read) == len(gts)
    ours = [
        Truth(image, name, tuple(side + 1 for side in box), gt.difficult)
        for (image, name, box), gt in zip(read, gts, strict=True)
    ]
    for mode in ('11points', 'area'):
        expected = mean_average_precision(
            gts, detections, BLOOD_CELLS, points=mode == '11points'
        )
        value = evaluate(PascalVocMetric(mode), ours, detections, BLOOD_CELLS)
        print(f'{mode}: {value["pascal_voc/mAP"]:.12f}, devkit rules {expected:.12f}')
        assert 0.2 < expected < 0.9
        assert value['pascal_voc/mAP'] == pytest.approx(expected, abs=1e-9)
