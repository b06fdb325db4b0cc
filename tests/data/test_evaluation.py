"""mmdet's COCO metric on this stack gives the official figures."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import torch
from mmdet.evaluation import CocoMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmfrcnn.data.formats.voc import VocXmlDataset

BLOOD_CELLS = ('RBC', 'WBC', 'Platelets')


def sample(image: dict, boxes, scores, labels, **more) -> dict:
    """Return a data sample with detections, as a detector hands it to the metric."""
    return {
        'img_id': image['id'],
        'ori_shape': (image['height'], image['width']),
        'pred_instances': {
            'bboxes': torch.as_tensor(np.reshape(boxes, (-1, 4))),
            'scores': torch.as_tensor(np.asarray(scores, dtype=float)),
            'labels': torch.as_tensor(np.asarray(labels, dtype=int)),
        },
        **more,
    }


def test_official_figures_of_the_published_results(real_data):
    folder = real_data('cocoeval_fixture')
    path = folder / 'instances_val2014_100.json'
    gt = json.loads(path.read_text())
    results = json.loads(
        (folder / 'instances_val2014_fakebbox100_results.json').read_text()
    )
    names = [category['name'] for category in gt['categories']]
    numbers = [category['id'] for category in gt['categories']]
    metric = CocoMetric(ann_file=str(path), metric='bbox', proposal_nums=(1, 10, 100))
    metric.dataset_meta = {'classes': names}
    known = {entry['image_id'] for entry in results}
    images = [image for image in gt['images'] if image['id'] in known]
    for image in images:
        mine = [entry for entry in results if entry['image_id'] == image['id']]
        boxes = np.array([entry['bbox'] for entry in mine], dtype=float)
        boxes[:, 2:] += boxes[:, :2]
        labels = [numbers.index(entry['category_id']) for entry in mine]
        scores = [entry['score'] for entry in mine]
        metric.process({}, [sample(image, boxes, scores, labels)])
    values = metric.evaluate(size=len(images))
    expected = {
        'mAP': 0.505, 'mAP_50': 0.697, 'mAP_75': 0.573,
        'mAP_s': 0.586, 'mAP_m': 0.519, 'mAP_l': 0.501,
    }  # fmt: skip
    for key, value in expected.items():
        assert round(values[f'coco/bbox_{key}'], 3) == value, key


def test_voc_conversion_equals_pycocotools_on_the_xml(real_data):
    """CocoMetric without a file against ground truth made from the XML directly."""
    folder = real_data('bccd')
    dataset = VocXmlDataset(
        data_root=str(folder),
        ann_file='ImageSets/Main/val.txt',
        data_prefix={'sub_data_root': ''},
        metainfo={'classes': BLOOD_CELLS},
        test_mode=True,
        pipeline=[],
    )
    gt = ground_truth_from_xml(folder, 'val')
    random = np.random.default_rng(0)
    metric = CocoMetric(metric='bbox')
    metric.dataset_meta = {'classes': BLOOD_CELLS}
    rows = []
    for index, image in enumerate(gt['images']):
        info = dataset.get_data_info(index)
        mine = [a for a in gt['annotations'] if a['image_id'] == image['id']]
        boxes = np.array([entry['bbox'] for entry in mine], dtype=float)
        boxes[:, 2:] += boxes[:, :2]
        boxes += random.normal(0, 6, boxes.shape)  # noisy copies of the truth
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = np.array([entry['category_id'] for entry in mine])
        labels = np.where(random.random(len(labels)) < 0.1, 0, labels)
        scores = random.random(len(labels))
        shown = sample(image, boxes, scores, labels, instances=info['instances'])
        metric.process({}, [shown])
        rows += [
            [image['id'], x1, y1, x2 - x1, y2 - y1, score, label]
            for (x1, y1, x2, y2), score, label in zip(
                boxes, scores, labels, strict=True
            )
        ]
    values = metric.evaluate(size=len(dataset))
    reference = evaluate(gt, np.array(rows))
    assert 0.2 < reference[0] < 0.9
    keys = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
    for key, value in zip(keys, reference, strict=False):
        assert abs(values[f'coco/bbox_{key}'] - value) < 6e-4, key  # it rounds


def ground_truth_from_xml(folder, split: str) -> dict:
    """Build COCO ground truth from the XML files, apart from the package's reader."""
    images, annotations = [], []
    names = (folder / f'ImageSets/Main/{split}.txt').read_text().split()
    for number, name in enumerate(names):
        root = ElementTree.parse(folder / 'Annotations' / f'{name}.xml')
        images.append({'id': number, 'width': 640, 'height': 480, 'file_name': name})
        for node in root.iter('object'):
            x1, y1, x2, y2 = (int(side.text) - 1 for side in node.find('bndbox'))
            if x1 == x2 or y1 == y2:
                continue
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': number,
                    'category_id': BLOOD_CELLS.index(node.findtext('name')),
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'area': (x2 - x1) * (y2 - y1),
                    'iscrowd': 0,
                }
            )
    categories = [{'id': i, 'name': name} for i, name in enumerate(BLOOD_CELLS)]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def evaluate(gt: dict, rows: np.ndarray) -> np.ndarray:
    """Evaluate (K, 7) rows (image, x, y, w, h, score, category) with pycocotools."""
    coco = COCO()
    coco.dataset = gt
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(rows), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats
