"""Weights that mmengine's loading would pass over, on every way into a detector."""

from __future__ import annotations

import copy
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.apis import DetInferencer, init_detector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import BaseTTAModel
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn

from mmfrcnn.errors import UserError

STOCK = Path(mmdet.__file__).parent / '.mim/configs'
NAME = 'backbone.layer1.0.conv1.weight'


@pytest.fixture(scope='module')
def config():
    """mmdet's Faster R-CNN, small."""
    config = Config.fromfile(STOCK / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    model = config.model
    model.backbone.update(depth=18, base_channels=4, init_cfg=None, frozen_stages=-1)
    model.neck.update(in_channels=[4, 8, 16, 32], out_channels=4)
    model.rpn_head.update(in_channels=4, feat_channels=4)
    model.roi_head.bbox_roi_extractor.out_channels = 4
    model.roi_head.bbox_head.update(in_channels=4, fc_out_channels=8, num_classes=2)
    return config


@pytest.fixture
def weights(config):
    init_default_scope('mmdet')
    generator = torch.Generator().manual_seed(0)
    state = MODELS.build(config.model).state_dict()
    for value in state.values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.0, generator=generator)
    return state


@pytest.fixture
def save(tmp_path):
    """Return a function that writes weights as mmengine does: the file's path."""

    def write(weights):
        path = tmp_path / 'weights.pth'
        meta = dict(dataset_meta=dict(classes=('a', 'b')))
        torch.save(dict(state_dict=weights, meta=meta), path)
        return str(path)

    return write


def by_init_detector(config, path):
    return init_detector(copy.deepcopy(config), path, device='cpu')


def by_inferencer(config, path):
    model = copy.deepcopy(config)._cfg_dict
    return DetInferencer(model, path, device='cpu', show_progress=False).model


def by_load_checkpoint(config, path):
    model = MODELS.build(config.model)
    load_checkpoint(model, path)
    return model


def by_init_cfg(config, path):
    model = MODELS.build(config.model)
    model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=path, prefix='backbone.'
    )
    model.backbone.init_weights()
    return model


WAYS = pytest.mark.parametrize(
    'load', [by_init_detector, by_inferencer, by_load_checkpoint, by_init_cfg]
)


@WAYS
def test_what_is_in_the_file_is_in_the_model(config, weights, save, load):
    loaded = load(config, save(weights)).state_dict()
    for name, value in weights.items():
        if load is not by_init_cfg or name.startswith('backbone.'):
            assert torch.equal(loaded[name], value), name


@pytest.mark.filterwarnings('ignore:.*quantiz')
@pytest.mark.parametrize(
    'broken, words',
    [
        (lambda w: w.to_sparse(), 'sparse, in the model dense'),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), 'quantised'),
        (lambda w: w.to('meta'), 'without values'),
        (lambda w: w.tolist(), 'list, not a tensor'),
        (lambda w: w.long(), r'torch\.int64, in the model torch\.float32'),
    ],
    ids=['sparse', 'quantised', 'meta', 'list', 'int64'],
)
@WAYS
def test_weights_that_cannot_be_loaded_are_named(
    config, weights, save, load, broken, words
):
    name = NAME.removeprefix('backbone.') if load is by_init_cfg else NAME
    path = save(weights | {NAME: broken(weights[NAME])})
    with pytest.raises(UserError, match=rf'1 weights .*\({name} is {words}') as refused:
        load(config, path)
    assert str(refused.value).startswith(path) and '\n' not in str(refused.value)


@WAYS
def test_a_file_of_another_model_is_refused(config, weights, save, load):
    """mmengine's log would say so, and the detector be a random one."""
    other = {f'backbone.{name}': v for name, v in nn.Linear(2, 2).state_dict().items()}
    path = save(other)
    with pytest.raises(UserError, match='no weight fits the model') as refused:
        load(config, path)
    assert str(refused.value).startswith(path) and '\n' not in str(refused.value)
    wider = {name: torch.zeros(*v.shape, 2) for name, v in weights.items()}
    with pytest.raises(UserError, match='no weight fits the model'):
        load(config, save({k: v for k, v in wider.items() if v.dim() > 1}))


@WAYS
def test_a_part_of_the_weights_may_be_enough(config, weights, save, load):
    """As to fine-tune: a backbone alone, or heads of another number of classes."""
    other = {
        name: torch.zeros(3, *value.shape[1:]) if 'fc_cls' in name else value
        for name, value in weights.items()
        if name.startswith(('backbone', 'roi_head'))
    }
    loaded = load(config, save(other)).state_dict()
    assert torch.equal(loaded[NAME], weights[NAME])


def test_models_that_load_weights_of_other_names(config, weights, save):
    """mmdet's semi-supervised detectors take those of a plain one, for both parts."""
    init_default_scope('mmdet')
    model = MODELS.build(
        dict(
            type='SemiBaseDetector',
            detector=config.model,
            data_preprocessor=config.model.data_preprocessor,
            semi_train_cfg=dict(freeze_teacher=True),
        )
    )
    load_checkpoint(model, save(weights))
    assert torch.equal(model.state_dict()[f'teacher.{NAME}'], weights[NAME])


class Averaged(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return []


def test_wrapped_models(config, weights, save):
    """Names in the file are those inside the wrapper, or a wrapper's own."""
    init_default_scope('mmdet')
    model = MODELS.build(config.model)
    weights = {f'module.{name}': value for name, value in weights.items()}
    load_checkpoint(Averaged(model), save(weights))
    assert torch.equal(model.state_dict()[NAME], weights[f'module.{NAME}'])
    weights[f'module.{NAME}'] = weights[f'module.{NAME}'].to_sparse()
    with pytest.raises(UserError, match=f'{NAME} is sparse'):
        load_checkpoint(Averaged(model), save(weights))


def test_a_model_without_weights_has_nothing_to_miss(save):
    load_checkpoint(nn.ReLU(), save({}))
