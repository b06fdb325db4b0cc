"""Which checkpoint and config are meant; and that nothing of them is executed."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from mmfrcnn import Detector
from mmfrcnn.deploy.run_folder import find_checkpoint, find_config
from mmfrcnn.errors import UserError
from tests.compat.hostile import PLANTED, TEXTS, good_config, plant, text_of


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_the_best_checkpoint_before_the_last(tmp_path):
    touch(tmp_path, 'epoch_1.pth', 'epoch_2.pth', 'other.pth')
    with pytest.raises(UserError, match=r'no best_\*\.pth here.*epoch_1\.pth; epoch_2'):
        find_checkpoint(tmp_path)
    # As the training saw it; the folder was moved.
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_2.pth\n')
    assert find_checkpoint(tmp_path) == tmp_path / 'epoch_2.pth'
    touch(tmp_path, 'best_coco_bbox_mAP_epoch_1.pth')
    assert find_checkpoint(str(tmp_path)).name == 'best_coco_bbox_mAP_epoch_1.pth'
    touch(tmp_path, 'best_coco_segm_mAP_epoch_2.pth')
    with pytest.raises(UserError, match=r'2 best checkpoints.*segm.*name one'):
        find_checkpoint(tmp_path)
    assert find_checkpoint(tmp_path / 'other.pth') == tmp_path / 'other.pth'


def test_what_is_no_checkpoint(tmp_path):
    cases = {
        tmp_path: r'checkpoints: none at all',
        tmp_path / 'missing.pth': r'no such checkpoint: .*missing\.pth',
        'http://127.0.0.1/x.pth': r'is an address, and nothing is fetched',
        'torchvision://resnet50': r'is an address',
    }
    text = tmp_path.parent / 'text.pth'
    text.write_text('not a checkpoint')
    cases[text] = r'text\.pth .* is not a complete checkpoint'
    for source, message in cases.items():
        with pytest.raises(UserError, match=message) as refused:
            Detector(source, 'cpu')
        assert '\n' not in str(refused.value)
    (tmp_path / 'last_checkpoint').write_text('gone.pth')
    with pytest.raises(UserError, match=r'no file that last_checkpoint names'):
        Detector(tmp_path, 'cpu')


def test_the_config_inside_before_the_one_beside(tmp_path):
    config = good_config(tmp_path)
    (tmp_path / 'tiny.py').unlink()
    checkpoint = tmp_path / 'epoch_1.pth'
    inside = {'meta': {'cfg': text_of(config)}}
    with pytest.raises(UserError, match=r'holds no config'):
        find_config(tmp_path, checkpoint, {})
    beside = tmp_path / 'beside.py'
    other = Config(config).copy()
    other.model.backbone.depth = 50
    beside.write_text(other.pretty_text)
    assert find_config(tmp_path, checkpoint, inside).model.backbone.depth == 18
    assert find_config(tmp_path, checkpoint, {}).model.backbone.depth == 50
    mark = tmp_path / 'executed'
    beside.write_text(f'model = open({str(mark)!r}, "w").close()')
    with pytest.raises(UserError, match=r'beside\.py was not read: it holds more than'):
        find_config(tmp_path, checkpoint, {})
    assert not mark.exists()
    (tmp_path / 'second.py').touch()
    with pytest.raises(UserError, match=r'holds no config'):
        find_config(tmp_path, checkpoint, {})
    (tmp_path / 'second.py').unlink()
    checkpoint.touch()
    beside.write_text(other.pretty_text)
    with pytest.raises(UserError, match=r'holds no config'):
        find_config(checkpoint, checkpoint, {})  # the checkpoint alone was named


@pytest.mark.parametrize('name', [*PLANTED, *TEXTS])
def test_a_hostile_config_executes_nothing(name, tmp_path):
    mark, evil = tmp_path / 'executed', tmp_path / 'evil.py'
    evil.write_text(f'open({str(mark)!r}, "w").close()')
    names = {'mark': str(mark), 'evil': str(evil)}
    if name in TEXTS:
        text = TEXTS[name].format(**names) if '{mark' in TEXTS[name] else TEXTS[name]
    else:
        config = good_config(tmp_path)
        plant(config, *PLANTED[name], **names)
        text = text_of(config)
    path = tmp_path / 'x.pth'
    torch.save({'state_dict': {}, 'meta': {'cfg': text}}, path)
    with pytest.raises(UserError) as refused:
        Detector(path, 'cpu')
    message = str(refused.value)
    assert message.startswith(str(path)) and 'config=' in message
    assert '\n' not in message
    assert not mark.exists()


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('model.backbone', dict(type='ResNet'), r'could not be built \(TypeError'),
        ('model.backbone.depth', 7, r'could not be built \(KeyError'),
        ('model.neck.out_channels', 10**15, r'could not be built'),
        ('model.backbone.depth', 34, r'weights differ'),
    ],
)
def test_a_config_that_builds_nothing(key, value, message, tmp_path):
    config = good_config(tmp_path)
    plant(config, key, value)
    path = tmp_path / 'x.pth'
    meta = {'cfg': text_of(config), 'dataset_meta': {'classes': ('box', 'disc')}}
    torch.save({'state_dict': {}, 'meta': meta}, path)
    with pytest.raises(UserError, match=message) as refused:
        Detector(path, 'cpu')
    assert '\n' not in str(refused.value)
