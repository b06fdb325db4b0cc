"""A dumped step gives the losses that it gave, and no file more than an error."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import copy
import errno
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmfrcnn.cli.replay import REMEDY
from mmfrcnn.compat.config_text import config_of_text
from mmfrcnn.errors import UserError
from mmfrcnn.modeling.sampler import balanced_samplers
from mmfrcnn.training.bfloat16 import Bfloat16OptimWrapper
from mmfrcnn.training.not_finite import account as module
from mmfrcnn.training.not_finite.account import account
from mmfrcnn.training.not_finite.boxes import describe_boxes
from mmfrcnn.training.not_finite.dump import (
    CHECKS,
    plain_sample,
    read_dump,
    write_dump,
)
from mmfrcnn.training.not_finite.recent import Step
from mmfrcnn.training.not_finite.replay import first_not_finite, replay
from tests.parity.conftest import ROOT, make_sample, shrink

KNOWN = dict(terms={}, rate=0.1, gradient_norm=2.0, norm_before=1.0)


@pytest.fixture(scope='module')
def config():
    init_default_scope('mmdet')
    path = ROOT / 'configs/_base_/models/mask-rcnn_r50_fpn.py'
    model = shrink(Config.fromfile(path).model)
    model.backbone.norm_eval = False
    return Config(dict(model=model))


def batch_of(boxes=3):
    sizes = [(96, 128, boxes, 0), (80, 100, 0, 1)]
    made = [make_sample(*size, classes=20, masks=True) for size in sizes]
    return dict(
        inputs=[one['inputs'] for one in made],
        data_samples=[one['data_samples'] for one in made],
    )


def runner_of(model, config, folder, wrapper=OptimWrapper):
    weights = [one for one in model.parameters() if one.requires_grad]
    return SimpleNamespace(
        model=model,
        cfg=config,
        work_dir=str(folder),
        message_hub=MessageHub(str(folder)),
        optim_wrapper=wrapper(optimizer=torch.optim.SGD(weights, 1e-3)),
    )


@pytest.fixture
def dumped(config, tmp_path):
    """Return a dump's path, and the losses and norm of the step as it was trained."""
    return dump(config, tmp_path)


def dump(config, folder, wrapper=OptimWrapper, evaluating=(), parts=None):
    torch.manual_seed(4)
    model = MODELS.build(copy.deepcopy(config.model)).train()
    if parts:
        model.train_only(parts)
    model.rpn_head.rpn_cls.requires_grad_(False)
    for name in evaluating:
        model.get_submodule(name).eval()
    runner, batch = runner_of(model, config, folder, wrapper), batch_of()
    model.train_step(batch, runner.optim_wrapper)  # another draw, other weights
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(4)  # as the loops do before each iteration
    losses = model.train_step(batch, runner.optim_wrapper)
    model.load_state_dict(before)
    draws = [1 for _ in balanced_samplers(model)]
    text = account(runner, Step(2, batch, 4, draws), exact=True, **KNOWN)
    path = folder / 'nan/iter_2.pth'
    assert str(path) in text
    return path, {k: float(v.detach()) for k, v in losses.items() if 'loss' in k}


def replayed(path, config):
    step, weights, _ = read_dump(str(path))
    model = MODELS.build(copy.deepcopy(config.model))
    model.load_state_dict(weights)
    torch.manual_seed(99)  # of another process
    return replay(model, step), step


@pytest.mark.parametrize('wrapper', [OptimWrapper, Bfloat16OptimWrapper])
def test_the_losses_are_those_of_the_step_to_the_bit(config, tmp_path, wrapper):
    norms = ('backbone.bn1', 'backbone.layer1.0.bn1')  # as FreezeNormHook leaves them
    path, expected = dump(config, tmp_path, wrapper, norms)
    result, step = replayed(path, config)
    assert set(norms) <= set(step.evaluating)
    assert step.precision == ('fp32' if wrapper is OptimWrapper else 'bf16')
    assert result.losses == expected and len(expected) == 6
    assert result.found is None and not result.reproduced


def test_what_mmdet_draws_is_drawn_again(config, tmp_path):
    config = copy.deepcopy(config)
    config.model.train_cfg.rpn.sampler.type = 'RandomSampler'
    config.model.train_cfg.rcnn.sampler.type = 'RandomSampler'
    path, expected = dump(config, tmp_path)
    result, step = replayed(path, config)
    assert step.draws == [] and result.losses == expected


def test_a_step_of_alternating_training(config, tmp_path):
    config = copy.deepcopy(config)
    config.model.type = 'AlternatingFasterRCNN'
    parts = ('backbone', 'neck', 'rpn_head')
    path, expected = dump(config, tmp_path, parts=parts)
    result, step = replayed(path, config)
    assert result.losses == expected and len(expected) == 3
    assert step.trained_parts == list(parts)


def test_what_was_frozen_is_frozen(config, dumped):
    step, weights, _ = read_dump(str(dumped[0]))
    model = MODELS.build(copy.deepcopy(config.model))
    model.load_state_dict(weights)
    replay(model, step)
    assert model.rpn_head.rpn_cls.weight.grad is None
    assert model.rpn_head.rpn_reg.weight.grad is not None


def test_the_config_inside_is_enough(config, dumped):
    path, expected = dumped
    step, weights, text = read_dump(str(path))
    parts = config_of_text(text, 'x', REMEDY, training=True)
    model = MODELS.build(Config(parts).model)
    model.load_state_dict(weights)
    assert replay(model, step).losses == expected


def sample_of(height=30, width=40):
    masks = np.zeros((1, height, width), np.uint8)
    masks[0, 3:6] = 1
    outline = np.array([1.0, 1.0, 9.0, 1.0, 9.0, 8.0])
    meta = dict(
        img_path='a.jpg',
        img_shape=(height, width),
        scale_factor=(np.float32(0.5), np.float32(0.25)),
        homography_matrix=np.eye(3),
        flip=False,
        other=object(),
    )
    sample = DetDataSample(metainfo=meta)
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.tensor([[1.0, 2, 9, 8]])),
        labels=torch.tensor([3]),
        masks=BitmapMasks(masks, height, width),
    )
    # As a flip of numpy's leaves it: a view that runs backwards.
    sample.gt_instances.masks.masks = sample.gt_instances.masks.masks[:, ::-1]
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(1, 4), masks=PolygonMasks([[outline]], height, width)
    )
    sample.proposals = InstanceData(bboxes=torch.ones(2, 4), scores=torch.ones(2))
    return sample


def test_a_data_sample_comes_back_as_it_was(config, tmp_path, dumped):
    step, _, _ = read_dump(str(dumped[0]))
    step.samples = [plain_sample(sample_of())]
    path = tmp_path / 'x.pth'
    write_dump(path, step, torch.nn.Linear(1, 1), '')
    (found,) = read_dump(str(path))[0].data_samples()
    given = sample_of()
    assert found.scale_factor == (0.5, 0.25) and found.img_shape == (30, 40)
    assert torch.equal(found.homography_matrix, torch.eye(3, dtype=torch.float64))
    assert found.other is None
    box = found.gt_instances.bboxes
    assert torch.equal(box, given.gt_instances.bboxes.tensor)
    bitmaps = found.gt_instances.masks
    assert (bitmaps.masks == given.gt_instances.masks.masks).all()
    outlines = found.ignored_instances.masks
    assert (outlines.masks[0][0] == given.ignored_instances.masks.masks[0][0]).all()
    assert outlines.height == 30 and len(found.proposals) == 2


def test_what_is_of_another_kind_is_refused_by_name(dumped):
    path, _ = dumped
    contents = {**torch.load(path, weights_only=True), 'state_dict': {}}
    for name in CHECKS:
        for value in (3.5j, ['x', 3], {'a': 'b'}):
            wrong = {**contents['step'], name: value}
            torch.save({**contents, 'step': wrong}, path)
            with pytest.raises(UserError, match=f'replayed: its {name} is of another'):
                read_dump(str(path))
    for wrong in ({}, [], None, {**contents['step'], 'more': 1}):
        torch.save({**contents, 'step': wrong}, path)
        with pytest.raises(UserError, match='is no dump of a step'):
            read_dump(str(path))


def test_a_gradient_alone_is_reproduced_where_no_loss_was_bad(config, dumped):
    step, weights, _ = read_dump(str(dumped[0]))
    model = MODELS.build(copy.deepcopy(config.model))
    model.load_state_dict(weights)
    model.rpn_head.rpn_reg.bias.register_hook(lambda gradient: gradient * torch.nan)
    assert replay(model, step).reproduced
    step.terms = dict(loss_cls=torch.inf)
    assert not replay(model, step).reproduced


@pytest.mark.parametrize('batch', [None, [], {}, dict(inputs=dict(a=1))])
def test_a_batch_of_another_kind_is_let_be(batch):
    assert account(None, Step(1, batch, 0, []), exact=True, **KNOWN) == ''


def test_the_innermost_module_is_found_with_what_went_in():
    inner = torch.nn.Linear(2, 2)
    model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(inner))
    with torch.no_grad():
        inner.weight[0, 0] = torch.nan
    with first_not_finite(model) as found:
        model(torch.tensor([[1.0, 3.0]]))
    (one,) = found
    assert one.module == '1.0 (Linear)'
    texts = [str(numbers) for numbers in one.numbers]
    assert texts[0] == 'input (1x2): 1 to 3'
    assert texts[1].startswith('weight (2x2): ') and '1 of 4 not finite' in texts[1]
    assert texts[-1].startswith('output (1x2): ') and '1 of 2 not finite' in texts[-1]
    with first_not_finite(model) as found:
        torch.nn.ReLU()(torch.tensor([torch.inf]))
        model[0](torch.zeros(0, 2))
    assert not found


def test_a_full_disk_hides_nothing(config, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(module, 'write_dump', full)
    model = MODELS.build(copy.deepcopy(config.model))
    step = Step(7, batch_of(), 0, [])
    text = account(runner_of(model, config, tmp_path), step, exact=True, **KNOWN)
    assert 'iter_7.pth could not be written: No space left' in text
    assert text.startswith('\n  boxes: 3 boxes on 2 images; ')


@pytest.mark.parametrize(
    ('boxes', 'said'),
    [
        ([], '^0 boxes on 1 image$'),
        ([[1, 1, 5, 9]], '^1 box on 1 image; the smallest side is 4 px .box 1 of a.$'),
        (
            [[1, 1, 5, 9], [2, 2, 2, 3]],
            '1 without an area .box 2 of a.; the smal.* 0 px',
        ),
        ([[-9, 1, 5, 9], [0, 0, 99, 9]], '2 outside its image .first box 1 of a.; '),
        ([[0, 0, 41, 31]], '1 box on 1 image; the smallest side is 31 px'),
        ([[1, 1, 5, 9], [0, 0, torch.nan, 9]], '1 not finite .box 2 of a.; .* is 4 px'),
        ([[0, 0, torch.nan, 9]], '1 not finite .box 1 of a.; .* is inf px .box 1 of a'),
        ([[1, 1, torch.inf, 9]], '1 not finite .*; 1 outside .* is 8 px'),
        ([[9, 9, 1, 1]], '1 without an area .box 1 of a.; the smallest side is -8 px'),
    ],
)
def test_boxes_in_words(boxes, said):
    sample = DetDataSample(metainfo=dict(img_path='a', img_shape=(30, 40)))
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    sample.gt_instances = InstanceData(bboxes=boxes)
    assert re.search(said, describe_boxes([sample]))
    nothing = DetDataSample()
    found = describe_boxes([nothing, sample])  # an image without any, and without names
    assert re.search(said.replace('1 image', '2 images'), found)
