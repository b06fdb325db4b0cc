"""The command line, and mmdet's weights: a stock model and ours, from file to boxes."""

from __future__ import annotations

import argparse
import importlib.util
import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader

from mmfrcnn.cli import run_command
from mmfrcnn.errors import UserError
from mmfrcnn.weights.detectron2 import architecture
from mmfrcnn.weights.files import write_weights
from mmfrcnn.weights.mapping import Weights
from mmfrcnn.weights.torchvision import architecture as torchvision_architecture
from tests.tools import run_tool

from . import ours, published

HAS_SAFETENSORS = importlib.util.find_spec('safetensors') is not None
STOCK = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
TORCHVISION = [
    (row.source, row.shape)
    for row in torchvision_architecture('fasterrcnn_mobilenet_v3_large_fpn', 3)
]


def command(source, path, target, config=None, destination=None) -> int:
    """Run the command in this process: starting one takes seconds."""
    arguments = argparse.Namespace(
        source=source,
        destination=destination,
        input=str(path),
        output=str(target),
        config=config and str(config),
    )
    return run_command('convert_weights', arguments)


@pytest.fixture
def refuse(capsys):
    def run(*arguments) -> str:
        assert command(*arguments) == 2
        message = capsys.readouterr().err
        assert message.startswith('error: ')
        return message

    return run


@pytest.fixture(scope='module')
def mobilenet(tmp_path_factory):
    """Return a file of torchvision's smallest detector, as it is saved there."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        key: torch.tensor(5)
        if 'num_batches' in key
        else torch.rand(shape, generator=generator)
        for key, shape in TORCHVISION
    }
    path = tmp_path_factory.mktemp('torchvision') / 'weights.pth'
    torch.save(weights, path)
    return path


def test_torchvision_there_and_back(mobilenet, tmp_path):
    ours_file, back_file = tmp_path / 'ours.pth', tmp_path / 'back.pth'
    for arguments in (
        ('--from', 'torchvision', mobilenet, ours_file),
        ('--to', 'torchvision', ours_file, back_file),
    ):
        result = run_tool('convert_weights.py', *arguments)
        assert result.returncode == 0, result.stderr
        assert '330 tensors' in result.stdout
    expected, back = (
        torch.load(path, weights_only=True) for path in (mobilenet, back_file)
    )
    assert list(back) == list(expected)
    assert all(torch.equal(back[key], expected[key]) for key in expected)


@pytest.mark.skipif(not HAS_SAFETENSORS, reason='the extra safetensors is absent')
def test_safetensors_there_and_back(mobilenet, tmp_path):
    ours_file, back_file = tmp_path / 'ours.safetensors', tmp_path / 'back.pth'
    assert command('torchvision', mobilenet, ours_file) == 0
    assert command(None, ours_file, back_file, destination='torchvision') == 0
    expected = torch.load(mobilenet, weights_only=True)
    back = torch.load(back_file, weights_only=True)
    assert list(back) == list(expected)
    assert all(torch.equal(back[key], expected[key]) for key in expected)


@pytest.mark.skipif(HAS_SAFETENSORS, reason='says what to do where it is absent')
def test_without_safetensors(mobilenet, tmp_path, refuse):
    target = tmp_path / 'ours.safetensors'
    message = refuse('torchvision', mobilenet, target)
    assert 'pip install safetensors' in message
    assert not target.exists()


def test_detectron2(tmp_path, capsys):
    rows = [
        row for row in architecture('FPN', 50, 1) if 'num_batches' not in row.source
    ]
    arrays = {row.source: np.full(row.shape, 0.5, np.float32) for row in rows}
    source, target = tmp_path / 'model_final.pkl', tmp_path / 'ours.pth'
    source.write_bytes(pickle.dumps({'model': arrays, '__author__': 'x'}, protocol=2))
    assert command('detectron2', source, target) == 0
    assert '348 tensors' in capsys.readouterr().out
    saved = torch.load(target, weights_only=True)
    assert saved.keys() == {'meta', 'state_dict'}
    assert saved['state_dict']['backbone.bn1.weight'].tolist() == [0.5] * 64


def test_mistakes(mobilenet, tmp_path, refuse):
    out = tmp_path / 'out.pth'
    assert 'no such file' in refuse('mmdet', tmp_path / 'a.pth', out)
    assert 'Faster R-CNN of detectron2' in refuse('detectron2', mobilenet, out)
    assert 'name the output' in refuse('mmdet', mobilenet, tmp_path / 'x.onnx')
    assert 'is the input' in refuse('mmdet', mobilenet, mobilenet)
    assert not out.exists()


def test_mmdet_equals_from_file_to_boxes(picture, tmp_path, refuse):
    init_default_scope('mmdet')
    path = tmp_path / 'stock.py'
    path.write_text(f'_base_ = {STOCK!r}\n')
    stock = ours.without_download(Config.fromfile(path))
    stock.model.test_cfg.rpn.max_per_img = 60
    with torch.no_grad():
        torch.manual_seed(0)
        model = ours.build(stock)
        head = model.roi_head.bbox_head
        layers = {model.rpn_head.rpn_cls: 0.5, model.rpn_head.rpn_reg: 0.3}
        published.differ(model, {**layers, head.fc_cls: 3.0, head.fc_reg: 1.0})
    ours.detect(model, stock, picture, (160, 128))  # rescales the layers
    expected = ours.detect(model, stock, picture, (160, 128))
    assert len(expected) == 100 and len(expected.labels.unique()) > 5

    source, target = tmp_path / 'mmdet.pth', tmp_path / 'ours.pth'
    optimizer = dict(state={}, param_groups=[])
    meta = dict(CLASSES=('a',), config='import os')
    torch.save(
        dict(meta=meta, state_dict=model.state_dict(), optimizer=optimizer), source
    )
    name = 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco'
    assert command('mmdet', source, target, ours.CONFIGS / f'{name}.py') == 0
    saved = torch.load(target, weights_only=True)
    assert saved.keys() == {'meta', 'state_dict'} and saved['meta'] == {}

    config = ours.load(name)
    config.model.test_cfg.rpn.max_per_img = 60
    mine = ours.build(config, saved['state_dict'])
    found = ours.detect(mine, config, picture, (160, 128))
    assert torch.equal(found.labels, expected.labels)
    assert (found.bboxes - expected.bboxes).abs().max() < 0.05
    assert (found.scores - expected.scores).abs().max() < 1e-3

    other = ours.CONFIGS / 'faster_rcnn/faster-rcnn_r18_fpn_1x_coco.py'
    message = refuse('mmdet', source, tmp_path / 'no.pth', other)
    assert 'not of the model in this config' in message


@pytest.mark.skipif(not HAS_SAFETENSORS, reason='the extra safetensors is absent')
def test_safetensors_load_like_checkpoints(tmp_path):
    """Extras are not weights; a file that was cut off is refused."""
    path = tmp_path / 'a.safetensors'
    write_weights(str(path), Weights({'a': torch.arange(3)}, {'b': torch.zeros(1)}))
    loaded = CheckpointLoader.load_checkpoint(str(path))
    assert loaded.keys() == {'state_dict'}
    assert loaded['state_dict']['a'].tolist() == [0, 1, 2]
    assert loaded['state_dict'].keys() == {'a'}
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match='not a complete'):
        CheckpointLoader.load_checkpoint(str(path))
