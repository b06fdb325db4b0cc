"""Every shipped config: builds, takes a training step, predicts, draws, is listed."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmdet.registry import VISUALIZERS
from mmengine.config import Config

from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.compat.detection_parts import detection_parts
from mmfrcnn.modeling import vgg_head
from tests.shallow import shorten_resnets

from . import small
from .pictures import COCO

ROOT = Path(__file__).resolve().parents[2]
PATHS = {
    path.relative_to(ROOT / 'configs').as_posix(): path
    for path in sorted((ROOT / 'configs').glob('[!_]*/*.py'))
}
CONFIGS = pytest.mark.parametrize('name', PATHS)

_last: dict[str, torch.nn.Module] = {}
_checked: set[str] = set()


def detector_of(config: Config) -> torch.nn.Module:
    """Build a config's detector, once for configs in a row that have the same."""
    model = str(config.model)
    if model not in _last:
        _last.clear()
        _last[model] = small.build(config.model)
    return _last[model]


@functools.cache
def shipped(name: str) -> Config:
    """Read a config once for all tests; none of them changes it."""
    return Config.fromfile(PATHS[name])


@functools.cache
def listed(folder: Path) -> tuple[dict, list[str]]:
    """Return a folder's entries by name, and its collections, of metafile.yml."""
    content = yaml.safe_load((folder / 'metafile.yml').read_text('utf-8'))
    entries = {entry['Name']: entry for entry in content['Models']}
    return entries, [one['Name'] for one in content['Collections']]


@functools.cache
def visualizer():
    return VISUALIZERS.build(
        dict(type='DetLocalVisualizer', vis_backends=[], name='test of configs')
    )


def check_model(config: Config, pictures: Path) -> None:
    """Train, predict and draw."""
    detector = detector_of(config)
    losses = small.train_step(detector, config, small.load(config, 'train', pictures))
    assert any('loss' in name for name in losses)
    for name, loss in losses.items():
        assert torch.isfinite(loss).all(), name
    trained = {n: p for n, p in detector.named_parameters() if p.requires_grad}
    assert not [name for name, p in trained.items() if p.grad is None]
    for name, parameter in trained.items():
        assert torch.isfinite(parameter.sum()), name

    items = small.load(config, 'test', pictures)
    results = small.predict(detector, items)
    assert len(results) == len(items)
    for result in results:
        found = result.pred_instances
        height, width = result.ori_shape
        limit = torch.tensor([width, height, width, height]) + 1e-2
        assert len(found) > 0
        assert torch.isfinite(found.bboxes).all() and torch.isfinite(found.scores).all()
        assert (found.bboxes >= -1e-2).all() and (found.bboxes <= limit).all()
        if 'masks' in found:
            assert found.masks.shape == (len(found), height, width)
    picture = np.zeros((height, width, 3), np.uint8)
    visualizer().add_datasample('picture', picture, result, draw_gt=False)


def check_data(config: Config, pictures: Path) -> None:
    """Run pictures through both pipelines; what comes out is what a model is given."""
    for split in ('train', 'test'):
        items = small.load(config, split, pictures)
        assert len(items) == 2
        for item in items:
            image, sample = item['inputs'], item['data_samples']
            assert image.shape[0] == 3 and image.isfinite().all()
            assert sample.img_shape[:2] == image.shape[1:]
            boxes = sample.gt_instances.bboxes.tensor
            assert boxes.isfinite().all() and (boxes[:, 2:] > boxes[:, :2]).all()
            if split == 'train':
                width, height = image.shape[:0:-1]
                limit = boxes.new_tensor([width, height, width, height])
                assert (boxes >= 0).all() and (boxes <= limit + 1e-3).all()


# The drawn pictures stand in for the real ones; where those are, they are enough.
@pytest.mark.parametrize(
    'pictures', ['real'] if COCO.is_dir() else ['drawn', 'real'], indirect=True
)
@CONFIGS
def test_trains_and_predicts(name, pictures, monkeypatch):
    monkeypatch.setattr(vgg_head, 'WIDTH', 64)  # its 120 million weights take seconds
    monkeypatch.setattr(small, 'LONGEST', 96)
    shorten_resnets(monkeypatch)
    config = small.shallow(small.shrink(shipped(name)))
    if small.wants_proposals(config):
        pytest.skip('learns from stored proposals: see the tests of its strategy')
    data = [config[f'{split}_dataloader'].dataset for split in ('train', 'test')]
    # Once for configs that differ in schedule or depth alone.
    for check, part in (
        (check_model, [config.model, config.optim_wrapper]),
        (check_data, data),
    ):
        same = str([part, pictures])
        if same not in _checked:
            check(config, pictures)
            _checked.add(same)


@CONFIGS
def test_names_are_registered(name):
    check_registered(shipped(name))


@CONFIGS
def test_is_taken_from_a_checkpoint(name):
    """What detection needs of it passes the check of configs that are stored."""
    config = shipped(name)
    if small.wants_proposals(config):
        pytest.skip('names a file of proposals')
    assert detection_parts(config.to_dict())['model']['type'] == config.model.type


@CONFIGS
def test_images_without_objects_are_kept(name):
    dataset = shipped(name).train_dataloader.dataset
    for leaf in small.leaves(dataset):
        assert leaf.get('filter_cfg') == {'filter_empty_gt': False}


@CONFIGS
def test_has_a_row_and_an_entry(name):
    """In the folder's README.md and metafile.yml, its figures with their source."""
    path = PATHS[name]
    assert f'({path.name})' in (path.parent / 'README.md').read_text('utf-8')
    entries, collections = listed(path.parent)
    entry = entries[path.stem]
    assert entry['Config'] == f'configs/{name}'
    assert entry['In Collection'] in collections
    for result in entry.get('Results', ()):
        source = result['Source']
        assert source.startswith(('published elsewhere', 'measured')), source
