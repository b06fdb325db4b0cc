"""Configs and overrides with mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

import mmfrcnn  # noqa: F401
from mmfrcnn.cli.checking.registered import accepted_keys, check_registered
from mmfrcnn.cli.config import leaves, load_config, parse_options
from mmfrcnn.cli.runtime import _copy_beside_the_work
from mmfrcnn.errors import UserError

REPO = Path(__file__).resolve().parents[2]
CONFIG = str(REPO / 'configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')


def message_of(path: str, *options: str) -> str:
    with pytest.raises(UserError) as caught:
        check_registered(load_config(path, options))
    return str(caught.value)


@pytest.mark.parametrize(
    'option, words',
    [
        ('modle.type=FasterRCNN', ["'modle'", "Did you mean 'model'?"]),
        ('train_dataloader.batchsize=2', ["'batchsize'", "'batch_size'"]),
        ('train_dataloader.foo=2', ["train_dataloader takes no key 'foo'"]),
        ('model.rpn_head.feat_chanels=8', ['model.rpn_head', "'feat_channels'"]),
        ('model.rpn_head.foo=8', ["RegionProposalHead takes no key 'foo'", 'takes:']),
        ('model.rpn_head.type=RPNHed', ['model.rpn_head', "'RPNHed'", "'RPNHead'"]),
        ('model.neck.type=Nothing', ["'Nothing'", 'custom_imports']),
        ('model.neck.type=nowhere.FPN', ["package 'nowhere'"]),
        ('model.test_cfg.rcnn.score_th=0.5', ["'score_th'", "'score_thr'"]),
        ('train_pipeline.0.type=X', ["'train_pipeline' is a variable"]),
        ('train_cfg.max_epoch=2', ["'max_epoch'", "'max_epochs'"]),
        ('optim_wrapper.optimizer.momentun=0', ['SGD', "'momentum'"]),
        ('default_hooks.logger.intervall=1', ['LoggerHook', "'interval'"]),
        ('randomness.sed=1', ["'sed'", "'seed'"]),
        ('model.train_cfg.rpn.assigner.type=BalancedSampler', ['fit: AnchorA']),
        ('model.train_cfg.rpn.sampler.type=AnchorAssigner', ['has no sample']),
        ('model.rpn_head.type=BatchedRoIHead', ['fit: RegionProposalHead']),
        (
            'model.roi_head.type=RegionProposalHead',
            ['fit: BatchedCascadeRoIHead, BatchedRoIHead'],
        ),
        ('model.roi_head.bbox_roi_extractor.type=FPN', ['fit: PyramidRoIExtractor']),
        ('train_dataloader.sampler.type=BalancedSampler', ['has no __iter__']),
        ('val_evaluator.type=CocoDataset', ['has no compute_metrics']),
        ('model', ['not of the form key=value']),
        ('train_dataloader.batch_size=(1,', ['train_dataloader.batch_size=(1,']),
        ('param_scheduler=[dict(type=LinearLR)]', ['a dict cannot', '_base_']),
        ("param_scheduler=[dict(type='LinearLR', end=5)]", ['a dict cannot']),
        ('param_scheduler=[{"type": "LinearLR"}]', ['a dict cannot']),
        ('model.neck=dict(type=FPN)', ['a dict cannot']),
        ('load_from=f(a,b)', ['a dict cannot']),
        ('log_processor.0.type=A', ['no entry 0 in log_processor', 'is no list']),
        ('model.0.type=FPN', ['no entry 0 in model', 'is no list']),
        ('param_scheduler.2.end=500', ['no entry 2 in param_scheduler', 'has 2']),
    ],
)
def test_a_wrong_override_is_named(option: str, words: list[str]) -> None:
    message = message_of(CONFIG, option)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    'option',
    [
        'train_dataloader.batch_size=3',
        'train_dataloader.dataset.indices=10',
        'model.backbone.with_cp=True',
        'model.backbone.norm_cfg.type=GN',
        'default_hooks.checkpoint.save_best=auto',
        'randomness.seed=1',
        'randomness.deterministic=True',
        'model.test_cfg.rcnn.something_new=1',
        'optim_wrapper.type=AmpOptimWrapper',
        'optim_wrapper.clip_grad.max_norm=35',
        'find_unused_parameters=True',
        'custom_hooks="[]"',
        'load_from=a.pth',
        'default_hooks.checkpoint.filename_tmpl={:03d}.pth',
    ],
)
def test_a_right_override_is_taken(option: str) -> None:
    config = load_config(CONFIG, [option])
    check_registered(config)
    ((key, value),) = parse_options([option]).items()
    node = config
    for part in key.split('.'):
        node = node[part]
    assert node == value


def test_overrides_are_parsed_like_mmengine() -> None:
    options = ['a.b=1', 'c=[1,2]', 'd=x,y', 'e=(1,(2,3))', 'f=0.5', 'g=None', 'h=k=v']
    assert parse_options(options) == {
        'a.b': 1,
        'c': [1, 2],
        'd': ['x', 'y'],
        'e': (1, (2, 3)),
        'f': 0.5,
        'g': None,
        'h': 'k=v',
    }


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / 'tiny.py').write_text('model = dict()')
    assert "Did you mean 'tiny.py'?" in message_of(str(tmp_path / 'tinny.py'))


@pytest.mark.parametrize(
    'text, words',
    [
        ('x = 1\nmodel = dict(', ['broken.py, line 2', 'never closed']),
        ('model = dict()\ny = foo', ['broken.py, line 2', "'foo' is not defined"]),
        ("_base_ = './othr.py'", ['_base_', 'othr.py', "Did you mean 'other.py'?"]),
        ('x = 1', ['defines no model']),
        ('model = dict()\ntrain_dataloder = 1', ["'train_dataloder'", 'dataloader']),
        (
            "model = dict()\ncustom_imports = dict(imports=['no.such.module'])",
            ["No module named 'no'", 'PYTHONPATH'],
        ),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / 'other.py').write_text('model = dict()')
    (tmp_path / 'broken.py').write_text(text)
    message = message_of(str(tmp_path / 'broken.py'))
    for word in words:
        assert word in message


def test_leaves_walk_dicts_and_lists() -> None:
    paths = dict(leaves(Config({'a': {'b': [1, {'c': 2}]}})))
    assert paths['a.b.0'] == 1
    assert paths['a.b.1.c'] == 2


def test_accepted_keys_follow_keyword_sinks() -> None:
    class Base:
        def __init__(self, one: int) -> None: ...

    class Child(Base):
        def __init__(self, two: int, **kwargs: int) -> None: ...

    def anything(three: int, **kwargs: int) -> None: ...

    assert accepted_keys(Base) == ({'one'}, True)
    assert accepted_keys(Child) == ({'one', 'two'}, False)
    assert accepted_keys(anything) == ({'three'}, False)


def test_a_gpu_gets_pinned_memory_unless_the_config_says_otherwise() -> None:
    config = load_config(CONFIG, ['val_dataloader.pin_memory=False'])
    _copy_beside_the_work(config)
    assert config.train_dataloader.pin_memory is True
    assert config.val_dataloader.pin_memory is False
    assert config.model.data_preprocessor.non_blocking is True


def test_a_part_of_a_setting_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / 'bare.py').write_text("model = dict(type='FasterRCNN')")
    message = message_of(str(tmp_path / 'bare.py'), 'param_scheduler.0.end=500')
    assert 'no entry 0 in param_scheduler, which is no list' in message
