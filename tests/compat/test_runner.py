"""A stock mmdet config trains, evaluates and draws under mmengine's Runner."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import cv2
import mmdet
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner

CONFIGS = Path(mmdet.__file__).parent / '.mim/configs'
NUM_IMAGES = 4


@pytest.fixture
def coco(tmp_path):
    """Four grey pictures with a bright rectangle each, in COCO format."""
    images, annotations = [], []
    for number in range(1, NUM_IMAGES + 1):
        picture = np.full((64, 80, 3), 60, np.uint8)
        x, y, w, h = 8 * number, 6 * number, 24, 20
        picture[y : y + h, x : x + w] = 220
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture)
        images.append(dict(id=number, file_name=f'{number}.png', height=64, width=80))
        outline = [x, y, x + w, y, x + w, y + h, x, y + h]
        annotations.append(
            dict(
                id=number,
                image_id=number,
                category_id=1,
                bbox=[x, y, w, h],
                area=w * h,
                iscrowd=0,
                segmentation=[outline],
            )
        )
    names = CocoDataset.METAINFO['classes']
    categories = [dict(id=i, name=name) for i, name in enumerate(names, start=1)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / 'instances.json').write_text(json.dumps(content))
    return tmp_path


def make_config(coco, file):
    cfg = Config.fromfile(CONFIGS / file)
    cfg.merge_from_dict(
        {
            'work_dir': str(coco / 'work'),
            'model.backbone.depth': 18,
            'model.backbone.init_cfg': None,
            'model.neck.in_channels': [64, 128, 256, 512],
            'model.roi_head.bbox_head.fc_out_channels': 64,
            'model.train_cfg.rcnn.sampler.num': 16,
            'model.test_cfg.rpn.max_per_img': 50,
            'model.test_cfg.rcnn.score_thr': 0.0,
            'model.test_cfg.rcnn.max_per_img': 5,
            'train_cfg.max_epochs': 1,
            'default_hooks.visualization': dict(
                type='DetVisualizationHook', draw=True, interval=1, score_thr=0.0
            ),
            'visualizer.save_dir': str(coco / 'drawn'),
        }
    )
    dataset = dict(
        data_root=str(coco), ann_file='instances.json', data_prefix=dict(img='')
    )
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.merge(dict(num_workers=2, persistent_workers=False, dataset=dataset))
        if split != 'train':
            cfg[f'{split}_evaluator'].ann_file = str(coco / 'instances.json')
        for step in loader.dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (80, 64)
    return cfg


@pytest.mark.skipif(not CONFIGS.exists(), reason='this mmdet ships no configs')
def test_trains_evaluates_draws_and_resumes(coco):
    cfg = make_config(coco, 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    if torch.cuda.is_available():  # mmengine has mixed precision on GPUs alone
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    with warnings.catch_warnings():
        warnings.simplefilter('error', FutureWarning)
        runner = Runner.from_cfg(cfg)
        runner.train()
    losses = runner.message_hub.log_scalars['train/loss'].data[0]
    assert np.isfinite(losses).all()
    for kind in ('bbox', 'segm'):
        ap = runner.message_hub.log_scalars[f'val/coco/{kind}_mAP'].current()
        assert ap != -1  # as pycocotools says where it finds no object

    drawn = list((coco / 'drawn').rglob('*.png'))
    assert len(drawn) == NUM_IMAGES  # validated once
    assert cv2.imread(str(drawn[0])).std() > 0

    cfg.update(resume=True, experiment_name='resumed')
    cfg.train_cfg.update(max_epochs=2, val_begin=3)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == 2
    assert (coco / 'work/epoch_2.pth').exists()


@pytest.mark.skipif(not CONFIGS.exists(), reason='this mmdet ships no configs')
def test_inferencer_of_mmdet(coco):
    """mmdet's own way to predict: a config, a checkpoint, a folder of pictures."""
    cfg = make_config(coco, 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    weights = MODELS.build(cfg.model).state_dict()
    meta = dict(dataset_meta=CocoDataset.METAINFO)
    torch.save(dict(state_dict=weights, meta=meta), coco / 'weights.pth')
    detector = init_detector(cfg, str(coco / 'weights.pth'), device='cpu')
    files = [str(coco / f'{number}.png') for number in (1, 2)]
    for sample in inference_detector(detector, files):
        assert 0 < len(sample.pred_instances) <= 5
