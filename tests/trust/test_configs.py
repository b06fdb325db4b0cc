"""A config inside a checkpoint calls nothing, wherever in it a call is written."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfrcnn import Detector
from mmfrcnn.errors import UserError
from tests.compat.hostile import PLANTED, TEXTS, good_config, plant, text_of
from tests.trust.bounded import bounded
from tests.trust.conftest import is_marked
from tests.trust.pickles import HERE

DATASET = 'test_dataloader.dataset'
TAKEN = (
    *('model', 'model.data_preprocessor', 'model.backbone', 'model.neck'),
    *('model.backbone.norm_cfg', 'model.backbone.conv_cfg', 'model.rpn_head'),
    *('model.rpn_head.anchor_generator', 'model.rpn_head.bbox_coder'),
    *('model.rpn_head.loss_cls', 'model.rpn_head.loss_bbox', 'model.roi_head'),
    *('model.roi_head.bbox_roi_extractor', 'model.roi_head.bbox_head'),
    *('model.roi_head.bbox_roi_extractor.roi_layer', f'{DATASET}.pipeline.0'),
    *('model.roi_head.bbox_head.loss_cls', 'model.roi_head.bbox_head.loss_bbox'),
    *('model.roi_head.bbox_head.bbox_coder', 'model.roi_head.bbox_head.reg_predictor'),
    *('model.test_cfg.rpn.nms', 'model.test_cfg.rcnn.nms', f'{DATASET}.pipeline.1'),
)
"""Places of what detection builds: a call there is refused."""
LEFT_OUT = (
    *('model.init_cfg', 'model.backbone.init_cfg', 'model.train_cfg'),
    *('train_dataloader', 'test_evaluator', 'visualizer', 'vis_backends'),
    *('custom_hooks', 'default_hooks.logger', 'optim_wrapper', 'param_scheduler'),
    *('test_dataloader.sampler', 'test_dataloader.collate_fn', 'runner_type'),
    *('tta_model', 'env_cfg.mp_cfg', 'log_processor', f'{DATASET}.backend_args'),
)
"""Places of what it does without: nothing there is looked at."""
TRAINED = (
    *(place for place in TAKEN if place.startswith('model')),
    *('model.train_cfg.rpn.assigner', 'model.train_cfg.rpn.sampler'),
    *('model.train_cfg.rpn_proposal.nms', 'model.train_cfg.rcnn.assigner'),
    *('model.train_cfg.rcnn.sampler', 'model.train_cfg'),
)
"""Places of what a loss is computed with."""
CALLS: dict[str, dict[str, Any]] = {
    'a command': dict(type='os.system', command='touch {mark}'),
    'a process': dict(type='subprocess.Popen', args=['touch', '{mark}']),
    'a function': dict(type=f'{HERE}.touch', mark='{mark}'),
    'a file': dict(type='builtins.open', file='{mark}', mode='w'),
    'a config': dict(type='mmengine.Config.fromfile', filename='{evil}'),
    'a scope': dict(type='system', _scope_='os', command='touch {mark}'),
}


@pytest.fixture(scope='module')
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return good_config(tmp_path_factory.mktemp('good'))


def save(path: Path, text: str, key: str = 'meta', **more: Any) -> None:
    """Write a checkpoint with a config's text."""
    stored = {'cfg': text}
    content = {'message_hub': {'runtime_info': stored}} if key != 'meta' else {}
    torch.save({'meta': stored, **content, 'state_dict': {}, **more}, path)


def planted(good: dict, key: str, value: Any, mark: Path) -> str:
    config = copy.deepcopy(good)
    names = {'mark': str(mark), 'evil': str(mark.with_name('script.py'))}
    plant(config, key, value, **names)
    return text_of(config)


def check(message: str, path: Path) -> None:
    assert str(path) in message and '\n' not in message and len(message) < 600


@pytest.mark.parametrize('kind', CALLS)
def test_a_call_is_refused_wherever_it_would_be_built(kind, good, ways, mark, tmp_path):
    for number, place in enumerate(TAKEN):
        path = tmp_path / f'{number}.pth'
        text = planted(good, place, CALLS[kind], mark)
        save(path, text, 'message_hub' if number % 2 else 'meta')
        check(ways['Detector'](path), path)
        check(ways['DetInferencer'](path), path)
        assert not is_marked(mark), place


@pytest.mark.parametrize('kind', CALLS)
def test_a_call_in_the_config_of_a_dumped_step_is_refused(
    kind, good, ways, mark, tmp_path
):
    # Of the right kinds, all empty: the config is what is looked at first.
    empty = dict(iteration=1, seed=0, exact=True, precision='fp32', torch='')
    empty |= dict.fromkeys(('rate', 'gradient_norm', 'trained_parts'), None)
    lists = ('draws', 'evaluating', 'frozen', 'inputs', 'samples')
    step = dict(empty, terms={}, **{name: [] for name in lists})
    for number, place in enumerate(TRAINED):
        path = tmp_path / f'{number}.pth'
        save(path, planted(good, place, CALLS[kind], mark), step=step)
        message = ways['replay'](path)
        check(message, path)
        assert '--config' in message and not is_marked(mark), place


@pytest.mark.parametrize('kind', CALLS)
def test_a_call_is_not_looked_at_elsewhere(kind, good, weights, ways, mark, tmp_path):
    path = tmp_path / 'x.pth'
    config = copy.deepcopy(good)
    names = {'mark': str(mark), 'evil': str(mark.with_name('script.py'))}
    for place in LEFT_OUT:
        plant(config, place, CALLS[kind], **names)
    save(path, text_of(config), state_dict=weights)
    for way in ('Detector', 'DetInferencer'):
        assert ways[way](path) == ''


def test_what_is_planted_and_what_is_no_value(good, ways, mark, tmp_path):
    assert len(CALLS) * (len(TAKEN) + len(LEFT_OUT)) + len(PLANTED) + len(TEXTS) > 200
    path = tmp_path / 'x.pth'
    texts = [planted(good, *PLANTED[name], mark) for name in PLANTED]
    for name, text in TEXTS.items():
        if len(text) < 10_000:
            has_name = '{mark' in text
            texts.append(text.format(mark=str(mark)) if has_name else TEXTS[name])
    for text in texts:
        save(path, text)
        for way in ('Detector', 'DetInferencer'):
            check(ways[way](path), path)
    assert 'antigravity' not in sys.modules


@pytest.fixture(scope='module')
def weights(good: dict[str, Any]) -> dict[str, torch.Tensor]:
    init_default_scope('mmdet')
    return MODELS.build(Config(copy.deepcopy(good)).model).state_dict()


def test_with_a_config_of_the_users_the_stored_one_is_not_read(
    good, weights, ways, mark, tmp_path
):
    path = tmp_path / 'x.pth'
    for text in (TEXTS['a call'], TEXTS['an import'], 'a' * 10):
        text = text.format(mark=str(mark)) if '{mark' in text else text
        save(path, text, state_dict=weights)
        for way in ('Detector, config', 'DetInferencer, config', 'init_detector'):
            assert ways[way](path) == ''
    assert not is_marked(mark)


def test_an_honest_checkpoint_is_taken(good, weights, ways, tmp_path):
    path = tmp_path / 'x.pth'
    save(path, text_of(good), state_dict=weights)
    assert ways['Detector'](path) == '' and ways['DetInferencer'](path) == ''


@pytest.mark.parametrize(
    ('place', 'value'),
    [
        ('model.neck.out_channels', 9000),
        ('model.roi_head.bbox_head.fc_out_channels', 10**7),
        ('model.rpn_head.num_convs', 10**6),
    ],
)
def test_a_model_is_no_larger_than_its_weights(
    place, value, good, weights, ways, mark, tmp_path
):
    path = tmp_path / 'x.pth'
    save(path, planted(good, place, value, mark), state_dict=weights)
    for way in ('Detector', 'DetInferencer'):
        with bounded():
            check(ways[way](path), path)


class Mine(torch.nn.ReLU):
    """An activation of a project of the user's."""


def test_what_the_user_has_registered_is_taken(good, weights, tmp_path):
    """A checkpoint cannot have it imported, and may name it once it is."""
    config = copy.deepcopy(good)
    config['model']['roi_head']['bbox_head']['act_cfg'] = dict(type='Mine')
    config['model']['neck']['act_cfg'] = dict(type='Mine')
    path = tmp_path / 'x.pth'
    save(path, text_of(config), state_dict=weights)
    with pytest.raises(UserError, match='Mine'):
        Detector(path, 'cpu')
    config['model']['roi_head']['bbox_head'].pop('act_cfg')
    save(path, text_of(config), state_dict=weights)
    MODELS.register_module(module=Mine)
    try:
        assert Detector(path, 'cpu').classes == ('box', 'disc')
    finally:
        del MODELS.module_dict['Mine']
