"""Checkpoints of every kind of recipe come back; odd ones are refused in one line."""

from __future__ import annotations

import functools
import itertools
import json
import re
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from mmfrcnn import Detector
from tests.tools import REPO

from .tiny import make_config, run_here

# Counted here, and not by reading all configs before any test is run.
NUM_RECIPES = 6
RECIPE = ('optim_wrapper', 'param_scheduler', 'default_hooks', 'custom_hooks')


def kinds(config: Config) -> set[str]:
    """List what a checkpoint depends on: parts and arguments, whatever the numbers."""
    parts = [
        *(*config.optim_wrapper.items(), config.train_cfg.type),
        *(*config.default_hooks.values(), *config.custom_hooks),
        *((one.type, one.by_epoch) for one in config.param_scheduler),
    ]
    return {re.sub(r'\b\d[\d.e-]*(, \d+)*', 'N', str(part)) for part in parts}


@functools.cache
def recipes() -> list[tuple[str, Config]]:
    """Return few shipped configs that have every kind of part between them."""
    paths = sorted((REPO / 'configs').glob('[!_]*/*.py'))
    configs = {path.stem: Config.fromfile(path) for path in paths}
    left = {name: kinds(config) for name, config in configs.items()}
    chosen = []
    while any(left.values()):
        name = max(left, key=lambda one: len(left[one]))
        chosen.append((name, configs[name]))
        left = {other: parts - left[name] for other, parts in left.items()}
    return chosen


STEPS = ('rpn', 'rcnn')  # of alternating training


def cut(schedule: dict) -> None:
    """Let a warm-up end after one iteration, and what follows it fill the run."""
    is_warmup = schedule['type'] == 'LinearLR'
    if schedule.get('begin'):
        schedule['begin'] = 1
    if schedule.get('end'):
        schedule['end'] = 1 if is_warmup else 2 if schedule['by_epoch'] else 4
    if 'milestones' in schedule:
        schedule['milestones'] = [1]


def write_recipe(folder: Path, shipped: Config) -> Path:
    """Write the tiny config with a shipped config's recipe, cut to a few iterations."""
    config = Config.fromfile(folder / 'tiny.py')
    for name in RECIPE:
        config.pop(name)
        config[name] = shipped[name]
    config.train_cfg = shipped.train_cfg
    own = [config.train_cfg.get(step, {}).get('param_scheduler', []) for step in STEPS]
    for schedule in itertools.chain(config.param_scheduler, *own):
        cut(schedule)
    if config.train_cfg.type == 'AlternatingTrainLoop':
        config.model.type = 'AlternatingFasterRCNN'
        for stage in STEPS:
            config.train_cfg[stage].max_iters = 2
    elif config.train_cfg.type == 'IterBasedTrainLoop':
        config.train_cfg.update(max_iters=4, val_interval=4)
    else:
        config.train_cfg.update(max_epochs=2, val_interval=2)
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
    path = folder / 'recipe.py'
    config.dump(path)
    return path


FIRST_AND_LAST = {
    'AlternatingTrainLoop': ('iter_7.pth', 'iter_8.pth'),
    'IterBasedTrainLoop': ('iter_2.pth', 'iter_4.pth'),
    'EpochBasedTrainLoop': ('epoch_1.pth', 'epoch_2.pth'),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('checkpoints')
    make_config(folder)
    return folder


def test_every_kind_of_part_is_in_a_recipe_below():
    assert len(recipes()) == NUM_RECIPES


@pytest.mark.parametrize('number', range(NUM_RECIPES))
def test_checkpoints_of_every_kind_come_back(number, folder, tmp_path):
    """Its schedule, optimizer and hooks: train, test, predict; resume to the same."""
    name, shipped = recipes()[number]
    path = write_recipe(folder, shipped)
    config = Config.fromfile(path)
    first, last = (tmp_path / name for name in FIRST_AND_LAST[config.train_cfg.type])
    work = ['--work-dir', tmp_path]
    assert run_here('train', path, *work) == 0, name
    expected = torch.load(last)

    out = tmp_path / 'found.json'
    assert run_here('test', path, last, *work, '--out', out) == 0, name
    check_prediction(folder, last, json.loads(out.read_text()))

    last.unlink()
    assert run_here('train', path, *work, '--resume', first) == 0, name
    found = torch.load(last)
    assert found['meta']['iter'] == expected['meta']['iter']
    for key, weight in expected['state_dict'].items():
        assert torch.equal(found['state_dict'][key], weight), (name, key)


def check_prediction(folder, checkpoint, tested):
    """The first image's detections, predicted from its pixels, are those tested."""
    detector = Detector(checkpoint, 'cpu')  # by the config that is stored in it
    assert detector.classes == ('box', 'disc')
    found = detector(folder / 'data/images/001.png')
    scores = [one['score'] for one in tested if one['image_id'] == 1]
    assert len(scores) > 0
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4, atol=1e-5)


def test_a_pickle_of_detections_is_what_mmdetection_reads(folder, tmp_path):
    """As its analysis tools do, by `mmengine.load`; the JSON beside it is the same."""
    config = Config.fromfile(folder / 'tiny.py')
    checkpoint = tmp_path / 'random.pth'
    torch.save({'state_dict': build(config).state_dict()}, checkpoint)
    outs = tmp_path / 'found.json', tmp_path / 'found.pkl'
    for out in outs:
        arguments = ['--work-dir', tmp_path / 'run', '--out', out]
        assert run_here('test', folder / 'tiny.py', checkpoint, *arguments) == 0
    detections = json.loads(outs[0].read_text())
    images = mmengine.load(outs[1])
    assert [image['img_id'] for image in images] == list(range(1, 9))
    rows = []
    for image in images:
        assert 'gt_instances' not in image and Path(image['img_path']).is_file()
        found = image['pred_instances']
        for box, score, label in zip(
            found['bboxes'], found['scores'], found['labels'], strict=True
        ):
            x1, y1, x2, y2 = box.tolist()
            corner = [x1, y1, x2 - x1, y2 - y1]
            rows.append([image['img_id'], int(label) + 1, float(score), *corner])
    expected = [
        [d['image_id'], d['category_id'], d['score'], *d['bbox']] for d in detections
    ]
    assert len(rows) > 0
    np.testing.assert_allclose(rows, expected, rtol=1e-6)


def build(config: Config) -> torch.nn.Module:
    init_default_scope('mmdet')
    return MODELS.build(config.model)


NO_CHECKPOINTS = {
    'list': [torch.ones(1)],
    'int': 3,
    'none': None,
    'tensor': torch.ones(2),
    'state_dict': {'state_dict': [torch.ones(1)]},
    'meta-none': {'state_dict': {}, 'meta': None},
    'meta-list': {'state_dict': {}, 'meta': ['a']},
    'hub': {'state_dict': {}, 'message_hub': None},
    'hub-part': {'state_dict': {}, 'message_hub': {'log_scalars': None}},
    'seed': {'state_dict': {}, 'meta': {'seed': 'seven'}},
    'epoch': {'state_dict': {}, 'meta': {'epoch': '7'}},
    'dataset_meta': {'state_dict': {}, 'meta': {'dataset_meta': 'cat, dog'}},
    'classes': {'state_dict': {}, 'meta': {'dataset_meta': {'classes': 'cat'}}},
    'old-classes': {'state_dict': {}, 'meta': {'CLASSES': 'cat'}},
    'optimizer': {'state_dict': {}, 'optimizer': [1]},
    'schedulers': {'state_dict': {}, 'param_schedulers': {'a': 3}},
    'name': {'state_dict': {3: torch.ones(1)}},
    'loop': 'a link to itself',
}


@pytest.mark.parametrize('name', NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_one_line_for_every_reader(
    name, folder, tmp_path, capsys
):
    path, config = tmp_path / 'odd.pth', folder / 'tiny.py'
    if name == 'loop':
        path.symlink_to(path)
    else:
        torch.save(NO_CHECKPOINTS[name], path)
    work = ['--work-dir', tmp_path / 'run']
    readers = {
        'test': [config, path, *work],
        'train': [config, '--resume', path, *work],
        'predict': [folder / 'data/images', config, path, '--out-dir', tmp_path / 'p'],
        'convert_weights': [path, tmp_path / 'new.pth', '--from', 'mmdet'],
    }
    for tool, arguments in readers.items():
        assert run_here(tool, *arguments) == 2, tool
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith('error: ') and str(path) in message, message
    assert not (tmp_path / 'new.pth').exists()


@pytest.mark.parametrize('reader', ['test', 'load_from', 'resume'])
def test_classes_in_another_order_are_refused(reader, folder, tmp_path, capsys):
    config = Config.fromfile(folder / 'tiny.py')
    model = build(config)
    state = build_optim_wrapper(model, config.optim_wrapper).state_dict()
    meta = dict(epoch=1, iter=2, dataset_meta=dict(classes=('disc', 'box')))
    checkpoint = dict(state_dict=model.state_dict(), meta=meta, optimizer=state)
    path = tmp_path / 'turned.pth'
    log = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    torch.save({**checkpoint, 'message_hub': log}, path)
    tool, arguments = {
        'test': ('test', [path]),
        'load_from': ('train', ['--cfg-options', f'load_from={path}']),
        'resume': ('train', ['--resume', path]),
    }[reader]
    work = ['--work-dir', tmp_path / 'run']
    assert run_here(tool, folder / 'tiny.py', *arguments, *work) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'in another order: disc, box; the data set has box, disc' in message


def test_an_old_checkpoint_names_its_classes(folder, tmp_path):
    """MMDetection 2 kept them in ``meta['CLASSES']``."""
    config = Config.fromfile(folder / 'tiny.py')
    meta = dict(mmdet_version='2.25.0', CLASSES=('cat', 'dog'))
    path = tmp_path / 'old.pth'
    torch.save({'state_dict': build(config).state_dict(), 'meta': meta}, path)
    assert Detector(path, 'cpu', config=config).classes == ('cat', 'dog')
