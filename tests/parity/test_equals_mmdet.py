"""A detector of our five parts against mmdet's with equal weights."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from torchvision.ops import box_iou

BATCHES = pytest.mark.parametrize('images', ['fabricated', 'coco_images'])


@pytest.fixture
def batch(images, request):
    given = request.getfixturevalue(images)
    return given() if callable(given) else given


def agreeing(found, expected):
    """Number of detections that have their like: label, IoU > 0.99, score to 1e-3."""
    overlap = box_iou(found.bboxes, expected.bboxes)
    alike = (
        (overlap > 0.99)
        & (found.labels[:, None] == expected.labels)
        & ((found.scores[:, None] - expected.scores).abs() < 1e-3)
    )
    return int(alike.any(1).sum())


def check_detections(found, expected):
    assert [len(one) for one in found] == [len(one) for one in expected]
    total = sum(map(len, found))
    assert total >= 20 * len(found)
    same = sum(agreeing(*pair) for pair in zip(found, expected, strict=True))
    assert same >= 0.99 * total, f'{same} of {total}'


@BATCHES
def test_detections_of_a_batch(build_pair, predict, batch):
    ours, theirs = build_pair()
    check_detections(predict(ours, batch), predict(theirs, batch))


@BATCHES
def test_detections_of_single_images(build_pair, predict, batch):
    ours, theirs = build_pair()
    for one in batch[:3]:
        check_detections(predict(ours, [one]), predict(theirs, [one]))


def softmax(model):
    model.rpn_head.loss_cls = dict(type='CrossEntropyLoss', use_sigmoid=False)


def agnostic(model):
    model.roi_head.bbox_head.reg_class_agnostic = True


def giou(model):
    for head in (model.rpn_head, model.roi_head.bbox_head):
        head.reg_decoded_bbox = True
        head.loss_bbox = dict(type='GIoULoss', loss_weight=10.0)


def pos_weight(model):
    model.train_cfg.rpn.pos_weight = 2.0
    model.train_cfg.rcnn.pos_weight = 3.0


def ignoring(model):
    model.train_cfg.rpn.assigner.ignore_iof_thr = 0.5
    model.train_cfg.rcnn.assigner.ignore_iof_thr = 0.5


def inside(model):
    model.train_cfg.rpn.allowed_border = 0


def plain(model):
    """Leave the config as it is."""


CHANGES = pytest.mark.parametrize(
    'change', [plain, softmax, agnostic, giou, pos_weight, ignoring, inside]
)


@CHANGES
def test_detections_of_variants(build_pair, predict, fabricated, change):
    ours, theirs = build_pair(change)
    batch = fabricated()
    check_detections(predict(ours, batch), predict(theirs, batch))


def check_losses(ours, theirs, train_step, batch):
    """All four losses to 1e-5, and the gradients of every parameter."""
    found, expected = train_step(ours, batch), train_step(theirs, batch)
    assert set(found) == set(expected)
    assert {n for n in found if 'loss' in n} == {
        'loss_rpn_cls',
        'loss_rpn_bbox',
        'loss_cls',
        'loss_bbox',
    }
    for name, loss in found.items():
        wanted = expected[name].view(loss.shape)
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-6)
    others = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        gradient, wanted = parameter.grad, others[name].grad
        scale = wanted.abs().max().clamp(min=1e-3)
        assert (gradient - wanted).abs().max() < 1e-3 * scale, name
    return found


def add_ignored_regions(batch):
    for one in batch[::2]:
        height, width = one['data_samples'].img_shape
        ignored = one['data_samples'].ignored_instances
        region = torch.tensor([[0.0, 0.0, width * 0.6, height * 0.9]])
        ignored.bboxes = torch.cat([ignored.bboxes, region])[-1:]
        ignored.labels = torch.zeros(1, dtype=torch.int64)
    return batch


@CHANGES
def test_losses_of_a_batch(build_pair, train_step, fabricated, first_ones, change):
    batch = fabricated()
    if change is ignoring:
        batch = add_ignored_regions(batch)
    ours, theirs = build_pair(change)
    losses = check_losses(ours, theirs, train_step, batch)
    assert all(loss > 0 for name, loss in losses.items() if 'loss' in name)


def test_losses_of_single_images(build_pair, train_step, fabricated, first_ones):
    ours, theirs = build_pair()
    for one in fabricated():
        check_losses(ours, theirs, train_step, [one])


def test_losses_on_real_images(build_pair, train_step, coco_images, first_ones):
    ours, theirs = build_pair(ignoring)
    check_losses(ours, theirs, train_step, coco_images)
    check_losses(ours, theirs, train_step, coco_images[:1])


def test_checkpoints_of_mmdet_load_by_name():
    """The full-size detectors have the same parameters and buffers."""
    from pathlib import Path

    import mmdet

    root = Path(__file__).resolve().parents[2]
    stock = Path(mmdet.__file__).parent / '.mim'
    name = 'configs/_base_/models/faster-rcnn_r50_fpn.py'
    models = []
    for folder in (root, stock):
        config = Config.fromfile(folder / name).model
        config.backbone.init_cfg = None
        models.append(MODELS.build(config))
    ours, theirs = (model.state_dict() for model in models)
    assert list(ours) == list(theirs)
    assert all(ours[key].shape == theirs[key].shape for key in ours)
    assert 'roi_head.bbox_head.shared_fcs.0.weight' in ours


def test_shipped_hyper_parameters_are_mmdets(our_config, stock_config, replace_types):
    """But for the names of the five parts and what is a default of both."""
    ours = replace_types(our_config, back=True).to_dict()
    theirs = stock_config().to_dict()
    defaults = {
        'debug': False,
        'clip_border': True,
    }

    def flat(node, path=()):
        if isinstance(node, dict):
            for key, value in node.items():
                yield from flat(value, (*path, key))
        else:
            yield path, list(node) if isinstance(node, (list, tuple)) else node

    ours, theirs = dict(flat(ours)), dict(flat(theirs))
    for path in set(ours) ^ set(theirs):
        given = ours.get(path, theirs.get(path))
        known = path[-1] in defaults or path[-1] in (
            'pad_mask',
            'gpu_assign_thr',
            'type',
        )
        assert known or given in (None, -1), path
    for path in set(ours) & set(theirs):
        assert ours[path] == theirs[path], path


def test_an_image_is_trained_on_alike_in_any_batch(
    our_config, build, collate, fabricated, monkeypatch
):
    """The RPN's sample does not depend on what else is in the batch."""
    our_config.train_cfg.rpn.sampler.seed = 3
    model = build(our_config).train()
    batch = fabricated()
    drawn = {}
    original = type(model.rpn_head).loss_of_sample

    def spy(self, sample, scores, deltas, anchors, targets):
        drawn['anchors'] = anchors, sample
        return original(self, sample, scores, deltas, anchors, targets)

    monkeypatch.setattr(type(model.rpn_head), 'loss_of_sample', spy)

    def anchors_of(some):
        model.rpn_head.sampler.draws = 9
        model(**collate(model, copy.deepcopy(some), True), mode='loss')
        return drawn['anchors']

    whole, whole_sample = anchors_of(batch)
    for place in range(len(batch)):
        alone, sample = anchors_of(batch[place : place + 1])
        valid = sample.valid[0]
        assert torch.equal(valid, whole_sample.valid[place])
        assert torch.equal(alone[0, valid], whole[place, valid])
    reordered, sample = anchors_of([batch[2], batch[0]])
    assert torch.equal(reordered[1, sample.valid[1]], whole[0, whole_sample.valid[0]])


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_detections_and_losses_on_cuda(
    build_pair, predict, train_step, fabricated, first_ones
):
    ours, theirs = (model.cuda() for model in build_pair())
    batch = fabricated()
    check_detections(predict(ours, batch), predict(theirs, batch))
    check_losses(ours, theirs, train_step, batch)
