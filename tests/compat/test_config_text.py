"""The config text in a checkpoint: read as values, never executed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfrcnn.compat.config_text import read_values, registered_names, stored_config
from mmfrcnn.errors import UserError

PAYLOADS = [
    'open({mark!r}, "w").close()',
    'model = open({mark!r}, "w").close()',
    'model = dict(type=open({mark!r}, "w").close())',
    'model = dict(open({mark!r}, "w").close() or [])',
    'model = dict(**open({mark!r}, "w").close())',
    'model = [0 for _ in [open({mark!r}, "w").close()]]',
    'model = f"{{open({mark!r}, "w").close()}}"',
    'import os\nmodel = dict()',
    'if open({mark!r}, "w"): model = 1',
    'dict = open\nmodel = dict(file={mark!r}, mode="w")',
    "model = dict(type='x'",
    "model = dict(type='os.system', command='touch {mark}')",
    "model = dict(type='FasterRCNN', backbone=dict(type='os.system'))",
    "model = dict(type='mmengine.os.system', command='touch {mark}')",
    "model = dict(_scope_='os', type='system', command='touch {mark}')",
    "model = dict(type='antigravity')",
    "visualizer = dict(type='subprocess.getoutput', cmd='touch {mark}')",
    "test_dataloader = dict(dataset=dict(pipeline=[dict(type='os.system', "
    "command='touch {mark}')]))",
    "model = dict(type=['os.system'])",
    "default_scope = 'antigravity'",
    "model = dict(type='FasterRCNN', _scope_='antigravity')",
    "test_dataloader = dict(collate_fn='os.system')",
    'model = ' + '[' * 3000,
]


@pytest.mark.parametrize('key', ['message_hub', 'meta'])
@pytest.mark.parametrize('text', PAYLOADS)
def test_an_inferencer_executes_nothing_of_a_checkpoint(tmp_path, text, key):
    mark, path = tmp_path / 'executed', str(tmp_path / 'x.pth')
    text = text.format(mark=str(mark))
    config = {'runtime_info': {'cfg': text}} if key == 'message_hub' else {'cfg': text}
    torch.save({'state_dict': {}, key: config}, path)
    try:
        with pytest.raises((UserError, KeyError, AttributeError)) as refused:
            DetInferencer(weights=path, device='cpu')
        if not text.startswith('dict = open'):  # read as a plain dict, so no model
            assert isinstance(refused.value, UserError)
            assert path in str(refused.value) and '`model`' in str(refused.value)
    finally:
        assert not mark.exists()


@pytest.mark.parametrize(
    ('name', 'known'),
    [
        ('FasterRCNN', True),
        ('mmdet.FasterRCNN', True),
        ('RoIAlign', True),  # looked up in mmcv.ops
        ('other.FasterRCNN', False),
        ('os.system', False),
        ('mmdet.', True),  # the scope itself
        ('antigravity.', False),
        ('mmdet.os.system', False),
        ('antigravity', False),  # importing it would open a browser
        ('', False),
        ('None', False),
    ],
)
def test_only_what_is_registered_may_be_named(name, known):
    assert (name in registered_names()) is known


def test_a_checkpoint_without_config_or_with_foreign_imports_is_refused(tmp_path):
    path = str(tmp_path / 'x.pth')
    torch.save({'state_dict': {}}, path)
    with pytest.raises(UserError, match='holds no config'):
        stored_config(path)
    text = "custom_imports = dict(imports=['antigravity'])"
    torch.save({'state_dict': {}, 'meta': {'cfg': text}}, path)
    with pytest.raises(UserError, match='imports antigravity'):
        stored_config(path)


def test_configs_come_back_as_they_were(repo_root):
    names = ['shapes/faster-rcnn_r18_fpn_shapes', 'faster_rcnn/faster-rcnn_vgg16_voc07']
    for name in names:
        config = Config.fromfile(repo_root / f'configs/{name}.py')
        assert read_values(config.pretty_text) == config.to_dict()


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
