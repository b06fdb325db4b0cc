"""The example's part alone, and its training run from outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from context_roi import ContextRoIExtractor
from mmfrcnn.data.shapes.generate import make_shapes
from mmfrcnn.modeling.roi_extractor import PyramidRoIExtractor

PROJECT = Path(__file__).resolve().parent
REPOSITORY = PROJECT.parents[1]
CONFIG = 'faster-rcnn_r18_fpn_context-roi_shapes.py'
ARGUMENTS = dict(
    roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
    out_channels=4,
    featmap_strides=[4, 8],
)


@pytest.fixture
def pyramid():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 4, size, size, generator=generator) for size in (32, 16)]


def test_starts_as_the_extractor_it_extends(pyramid):
    rois = torch.tensor([[0, 10.0, 20, 50, 60], [0, 0, 0, 127, 127], [0, 3, 3, 4, 4]])
    expected = PyramidRoIExtractor(**ARGUMENTS)(pyramid, rois)
    pooled = ContextRoIExtractor(**ARGUMENTS)(pyramid, rois)
    assert torch.allclose(pooled, expected, atol=1e-6)


def test_reads_the_surroundings(pyramid):
    """The gradient reaches pixels outside the region, and none far from it."""
    extractor = ContextRoIExtractor(**ARGUMENTS, context_scale=2.0)
    torch.nn.init.ones_(extractor.mix.weight)
    features = pyramid[0].requires_grad_()
    extractor(
        [features, pyramid[1]], torch.tensor([[0, 48.0, 48, 80, 80]])
    ).sum().backward()
    seen = features.grad[0].abs().sum(0) > 0
    assert seen[10, 10]  # 40 px: outside the region, within twice its size
    assert not seen[:7].any()  # above 28 px: outside both


def test_trains_from_outside_the_repository(tmp_path):
    """Copied away, found by ``custom_imports``, trained with the real tool."""
    project = tmp_path / 'lab' / 'context_roi'
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns('__pycache__'))
    config = project / 'configs' / CONFIG
    base = '../../../configs'
    assert base in config.read_text()
    config.write_text(config.read_text().replace(base, str(REPOSITORY / 'configs')))
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    paths = [project.parent, *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
    environment = os.environ | {
        'PYTHONPATH': os.pathsep.join(map(str, paths)),
        'OMP_NUM_THREADS': '1',
    }

    def run(*command):
        result = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=elsewhere,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    with (project / 'extractor.py').open('a') as part:
        part.write("print('this is the copy')\n")
    data = tmp_path / 'shapes'
    make_shapes(data, counts={'train': 8, 'val': 2}, workers=1)
    said = run(
        REPOSITORY / 'tools/train.py',
        config,
        '--work-dir=results',
        '--cfg-options',
        'train_cfg.max_iters=3',
        'train_cfg.val_interval=3',
        'default_hooks.checkpoint.interval=3',
        'param_scheduler=[]',
        'train_dataloader.batch_size=2',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False',
        f'train_dataloader.dataset.data_root={data}/',
        f'val_dataloader.dataset.data_root={data}/',
        f'val_evaluator.ann_file={data}/annotations/instances_val.json',
    )
    assert 'this is the copy' in said
    checkpoint = torch.load(elsewhere / 'results/iter_3.pth', weights_only=True)
    mix = checkpoint['state_dict']['roi_head.bbox_roi_extractor.mix.weight']
    channels = mix.shape[0]
    assert mix[:, channels:].abs().max() > 0  # began at 0: it was used and trained
