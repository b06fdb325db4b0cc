"""The config text in a checkpoint: read as values, never executed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfrcnn.compat.config_text import read_values, stored_config
from mmfrcnn.errors import UserError

from .hostile import PLANTED, TEXTS, good_config, plant, text_of


@pytest.mark.parametrize('key', ['message_hub', 'meta'])
@pytest.mark.parametrize('name', ['a function of os', 'in the pipeline', 'a base'])
def test_an_inferencer_builds_nothing_of_a_hostile_config(tmp_path, name, key):
    mark, path = tmp_path / 'executed', str(tmp_path / 'x.pth')
    config = good_config(tmp_path)
    plant(config, *PLANTED[name], mark=str(mark), evil=str(mark))
    check_refusal(path, key, text_of(config))
    assert not mark.exists()


@pytest.mark.parametrize('name', ['a call', 'an f-string', 'a rebound dict'])
def test_an_inferencer_executes_nothing_of_a_checkpoint(tmp_path, name):
    mark, path = tmp_path / 'executed', str(tmp_path / 'x.pth')
    check_refusal(path, 'meta', TEXTS[name].format(mark=str(mark)))
    assert not mark.exists()


def check_refusal(path, key, text):
    config = {'runtime_info': {'cfg': text}} if key == 'message_hub' else {'cfg': text}
    torch.save({'state_dict': {}, key: config}, path)
    with pytest.raises(UserError) as refused:
        DetInferencer(weights=path, device='cpu')
    assert path in str(refused.value) and '`model`' in str(refused.value)


def test_a_checkpoint_without_config_or_with_foreign_imports_is_refused():
    with pytest.raises(UserError, match=r'x holds no config. Do that'):
        stored_config({'state_dict': {}}, 'x', 'Do that')
    text = "custom_imports = dict(imports=['antigravity'])"
    with pytest.raises(UserError, match=r"imports 'antigravity'.*Do that"):
        stored_config({'meta': {'cfg': text}}, 'x', 'Do that')


def test_configs_come_back_as_they_were(repo_root):
    names = ['shapes/faster-rcnn_r18_fpn_shapes', 'faster_rcnn/faster-rcnn_vgg16_voc07']
    for name in names:
        config = Config.fromfile(repo_root / f'configs/{name}.py')
        assert read_values(config.pretty_text) == config.to_dict()


def test_keys_that_are_no_names_are_read():
    config = Config(dict(custom_keys={'backbone.layer1': dict(lr_mult=0.1), 'neck': 1}))
    assert 'dict({' in config.pretty_text
    assert read_values(config.pretty_text) == config.to_dict()
    for text in ('a = dict([(1, 2)])', 'a = dict({1: 2}, b=3)', 'a = dict({**b})'):
        with pytest.raises(ValueError, match='malformed'):
            read_values(text)


def test_an_inferencer_still_finds_the_config_in_a_checkpoint(repo_root, tmp_path):
    config = Config.fromfile(repo_root / 'configs/shapes/faster-rcnn_r18_fpn_shapes.py')
    init_default_scope('mmdet')
    model = MODELS.build(config.model)
    path = str(tmp_path / 'shapes.pth')
    meta = {'cfg': config.pretty_text, 'dataset_meta': {'classes': tuple('abcdef')}}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, path)
    inferencer = DetInferencer(weights=path, device='cpu', show_progress=False)
    image = np.zeros((240, 320, 3), np.uint8)
    found = inferencer(image, no_save_vis=True)['predictions'][0]
    assert len(found['bboxes']) == len(found['scores'])
    assert inferencer.visualizer.dataset_meta['classes'] == tuple('abcdef')
