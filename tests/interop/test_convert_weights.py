"""The command line, and mmdet's weights: a stock model and ours, from file to boxes."""

from __future__ import annotations

import importlib.util
import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfrcnn.interop.detectron2 import architecture
from mmfrcnn.interop.torchvision import architecture as torchvision_architecture
from tests.end_to_end.tiny import run_tool

from . import ours, published

HAS_SAFETENSORS = importlib.util.find_spec('safetensors') is not None
STOCK = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
TORCHVISION = [
    (row.source, row.shape)
    for row in torchvision_architecture('fasterrcnn_mobilenet_v3_large_fpn', 3)
]


def convert(*arguments):
    result = run_tool('convert_weights.py', *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def refuse(*arguments) -> str:
    result = run_tool('convert_weights.py', *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith('error: ') and 'Traceback' not in result.stderr
    return result.stderr


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
    assert '330 tensors' in convert('--from', 'torchvision', mobilenet, ours_file)
    convert('--to', 'torchvision', ours_file, back_file)
    expected, back = (
        torch.load(path, weights_only=True) for path in (mobilenet, back_file)
    )
    assert list(back) == list(expected)
    assert all(torch.equal(back[key], expected[key]) for key in expected)


@pytest.mark.skipif(not HAS_SAFETENSORS, reason='the extra safetensors is absent')
def test_safetensors_there_and_back(mobilenet, tmp_path):
    ours_file, back_file = tmp_path / 'ours.safetensors', tmp_path / 'back.pth'
    convert('--from', 'torchvision', mobilenet, ours_file)
    convert('--to', 'torchvision', ours_file, back_file)
    expected = torch.load(mobilenet, weights_only=True)
    back = torch.load(back_file, weights_only=True)
    assert list(back) == list(expected)
    assert all(torch.equal(back[key], expected[key]) for key in expected)


@pytest.mark.skipif(HAS_SAFETENSORS, reason='says what to do where it is absent')
def test_without_safetensors(mobilenet, tmp_path):
    target = tmp_path / 'ours.safetensors'
    message = refuse('--from', 'torchvision', mobilenet, target)
    assert 'pip install safetensors' in message
    assert not target.exists()


def test_detectron2(tmp_path):
    rows = [
        row for row in architecture('FPN', 50, 1) if 'num_batches' not in row.source
    ]
    arrays = {row.source: np.full(row.shape, 0.5, np.float32) for row in rows}
    source, target = tmp_path / 'model_final.pkl', tmp_path / 'ours.pth'
    source.write_bytes(pickle.dumps({'model': arrays, '__author__': 'x'}, protocol=2))
    assert '324 tensors' in convert('--from', 'detectron2', source, target)
    saved = torch.load(target, weights_only=True)
    assert saved.keys() == {'meta', 'state_dict'}
    assert saved['state_dict']['backbone.bn1.weight'].tolist() == [0.5] * 64


def test_mistakes(mobilenet, tmp_path):
    out = tmp_path / 'out.pth'
    assert 'no such file' in refuse('--from', 'mmdet', tmp_path / 'a.pth', out)
    assert 'Faster R-CNN of detectron2' in refuse(
        '--from', 'detectron2', mobilenet, out
    )
    assert 'name the output' in refuse(
        '--from', 'mmdet', mobilenet, tmp_path / 'x.onnx'
    )
    assert 'is the input' in refuse('--from', 'mmdet', mobilenet, mobilenet)
    assert not out.exists()


def test_mmdet_equals_from_file_to_boxes(picture, tmp_path):
    init_default_scope('mmdet')
    path = tmp_path / 'stock.py'
    path.write_text(f'_base_ = {STOCK!r}\n')
    stock = ours.without_download(Config.fromfile(path))
    stock.model.test_cfg.rpn.max_per_img = 60
    with torch.no_grad():
        torch.manual_seed(0)
        model = ours.build(stock)
        head = model.roi_head.bbox_head
        layers = {model.rpn_head.rpn_cls: 3.0, model.rpn_head.rpn_reg: 0.3}
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
    convert('--from', 'mmdet', source, target, '--config', ours.CONFIGS / f'{name}.py')
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
    message = refuse('--from', 'mmdet', source, tmp_path / 'no.pth', '--config', other)
    assert 'not of the model in this config' in message
