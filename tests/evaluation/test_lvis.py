"""LVIS's format through mmdet's data set and metric, on a tiny made-up vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn.evaluation.lvis import numpy_float

NAMES = ('aardvark', 'zebra_(animal)', 'rare_thing')
CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/lvis_v1_detection.py'


def make_lvis(root: Path) -> None:
    """Write two 64x48 images, four boxes, a class without any."""
    (root / 'annotations').mkdir()
    (root / 'val2017').mkdir()
    images, annotations = [], []
    for number in (1, 2):
        Image.new('RGB', (64, 48)).save(root / f'val2017/{number}.jpg')
        images.append(
            {
                'id': number,
                'coco_url': f'http://images.cocodataset.org/val2017/{number}.jpg',
                'width': 64,
                'height': 48,
                'neg_category_ids': [3],
                'not_exhaustive_category_ids': [],
            }
        )
    for index in range(4):
        x = 4 * index
        annotations.append(
            {
                'id': index + 1,
                'image_id': 1 + index % 2,
                'category_id': 1 + index // 2,
                'bbox': [x, 5, 10, 10],
                'area': 100,
                'segmentation': [[x, 5, x + 10, 5, x + 10, 15, x, 15]],
            }
        )
    categories = [
        {'id': i, 'name': name, 'frequency': 'fcr'[i - 1], 'image_count': 2}
        for i, name in enumerate(NAMES, 1)
    ]
    content = {
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }
    for split in ('train', 'val'):
        path = root / f'annotations/lvis_v1_{split}.json'
        path.write_text(json.dumps(content))


def test_a_vocabulary_of_ones_own_is_read_and_evaluated(tmp_path):
    pytest.importorskip('lvis', reason='needs the optional package lvis')
    make_lvis(tmp_path)
    init_default_scope('mmdet')
    config = Config.fromfile(str(CONFIG))
    config.model = {'roi_head': {'bbox_head': {'num_classes': 1203}}}
    root = str(tmp_path) + '/'
    config.train_dataloader.dataset.dataset.data_root = root
    config.val_dataloader.dataset.data_root = root
    config.test_dataloader.dataset.data_root = root
    config.val_evaluator.ann_file = root + 'annotations/lvis_v1_val.json'
    resolve_classes(config)
    assert config.model.roi_head.bbox_head.num_classes == 3
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert dataset.metainfo['classes'] == NAMES
    assert 'boxes    4: aardvark 2' in check_dataset(dataset.dataset, 'train')
    metric = METRICS.build(config.val_evaluator)
    metric.dataset_meta = dataset.metainfo
    test_set = DATASETS.build(config.val_dataloader.dataset)
    for index in range(len(test_set)):
        info = test_set.get_data_info(index)
        boxes = torch.tensor([thing['bbox'] for thing in info['instances']])
        labels = torch.tensor([thing['bbox_label'] for thing in info['instances']])
        found = {'bboxes': boxes, 'scores': torch.ones(len(boxes)), 'labels': labels}
        sample = {'img_id': info['img_id'], 'ori_shape': (48, 64)}
        metric.process({}, [{**sample, 'pred_instances': found}])
    values = metric.evaluate(size=2)
    assert values['lvis/bbox_AP'] == pytest.approx(1)


def test_numpy_has_its_former_name_only_meanwhile():
    with numpy_float():
        assert np.float is float
    assert 'float' not in vars(np)
