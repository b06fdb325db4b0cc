"""`BatchedCascadeRoIHead` against mmdet's `CascadeRoIHead`: weights, samples equal."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmfrcnn.errors import UserError
from mmfrcnn.ops.backend import using

from .conftest import (
    SIZES,
    compare_losses,
    config_of,
    padded_masks,
    run_losses,
    share_weights,
)
from .test_mask_branch import compare_masks
from .test_roi_head import compare_results

BACKENDS = pytest.mark.parametrize('backend', ['cpu', 'reference'])
THRESHOLDS = (0.4, 0.5, 0.6)
STDS = ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])


def cascade_config(*, bbox_head=None, mask_head=None, train_cfg=None, test_cfg=None):
    """Return mmdet's config of three stages, small; each with its own threshold."""
    one = config_of(
        bbox_head=dict(reg_class_agnostic=True) | (bbox_head or {}),
        mask_head=mask_head,
        train_cfg=train_cfg,
        test_cfg=test_cfg,
    )
    heads, rules = [], []
    for threshold, stds in zip(THRESHOLDS, STDS, strict=True):
        head, rule = copy.deepcopy(one.bbox_head), copy.deepcopy(one.train_cfg)
        head.bbox_coder.target_stds = stds
        rule.assigner.update(pos_iou_thr=threshold, neg_iou_thr=threshold)
        rule.assigner.min_pos_iou = threshold
        heads.append(head)
        rules.append(rule)
    one.update(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=heads,
        train_cfg=rules,
    )
    one.pop('shared_head')
    return one


@pytest.fixture
def make_cascades():
    """Return a maker of (our head, mmdet's head) with equal weights."""

    def make(*, stock_parts=False, **changes):
        config = cascade_config(**changes)
        theirs = MODELS.build(copy.deepcopy(config))
        config.type = 'BatchedCascadeRoIHead'
        if not stock_parts:
            for rule in config.train_cfg:
                rule.assigner.type = 'AnchorAssigner'
                rule.sampler.type = 'BalancedSampler'
        ours = MODELS.build(config)
        share_weights(ours, theirs)
        return ours, theirs

    return make


@BACKENDS
@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(bbox_head=dict(reg_class_agnostic=False)),
        dict(mask_head=dict()),
        dict(bbox_head=dict(reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss'))),
        dict(train_cfg=dict(pos_weight=2.0)),
    ],
    ids=['plain', 'by class', 'masks', 'giou', 'pos_weight'],
)
def test_losses_and_gradients_equal_mmdets(
    make_cascades, same_sample, features, proposals, masked_samples, changes, backend
):
    pair = make_cascades(**changes)
    batch = padded_masks(masked_samples)
    with using(backend):
        found = compare_losses(*pair, features, proposals, batch)
        assert len(found) == 3 * (4 if 'mask_head' in changes else 3)
        assert all(found[f's{stage}.loss_bbox'] > 0 for stage in range(3))
        for image in range(4):
            part = slice(image, image + 1)
            alone = [level[part] for level in features]
            compare_losses(*pair, alone, proposals[part], batch[part])


@BACKENDS
@pytest.mark.parametrize('kind', ['RandomSampler', 'OHEMSampler'])
def test_losses_with_mmdets_parts_in_our_head_equal_mmdets(
    make_cascades, first_ones, features, proposals, masked_samples, kind, backend
):
    sampler = dict(type=kind, num=24, pos_fraction=0.25, add_gt_as_proposals=True)
    pair = make_cascades(
        stock_parts=True, mask_head=dict(), train_cfg=dict(sampler=sampler)
    )
    with using(backend):
        compare_losses(*pair, features, proposals, padded_masks(masked_samples))
    if kind == 'OHEMSampler':  # asks the head of its own stage
        for sampler, head in zip(pair[0].bbox_sampler, pair[0].bbox_head, strict=True):
            assert sampler.bbox_head is head


def test_losses_with_ignored_regions_equal_mmdets(
    make_cascades, same_sample, features, proposals, samples
):
    pair = make_cascades()
    plain = compare_losses(*pair, features, proposals, samples)
    for head in pair:
        for assigner in head.bbox_assigner:
            assigner.ignore_iof_thr = 0.5
    for sample, size in zip(samples, SIZES, strict=True):
        box = torch.tensor([[0.0, 0.0, size[1] * 0.7, size[0]]])
        sample.ignored_instances = InstanceData(bboxes=box, labels=torch.tensor([0]))
    less = compare_losses(*pair, features, proposals, samples)
    assert all(plain[f's{t}.loss_cls'] != less[f's{t}.loss_cls'] for t in range(3))


@BACKENDS
def test_norms_see_no_empty_slots(
    make_cascades, same_sample, features, proposals, masked_samples, backend
):
    head = dict(type='Shared4Conv1FCBBoxHead', conv_out_channels=6)
    norm = dict(norm_cfg=dict(type='BN'))
    pair = make_cascades(bbox_head=head | norm, mask_head=norm)
    for one in pair:
        for module in one.train().modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.ones_(module.weight)
    with using(backend):
        compare_losses(*pair, features, proposals, padded_masks(masked_samples))
    statistics = dict(pair[1].named_buffers())
    for name, value in pair[0].named_buffers():
        torch.testing.assert_close(value, statistics[name])


def test_a_stage_is_given_what_the_one_before_refined(
    make_cascades, features, proposals, samples, monkeypatch
):
    """In its slots, without the ground truth; each stage draws on its own."""
    ours, _ = make_cascades()
    given = []
    for assigner in ours.bbox_assigner:
        plain = assigner.assign_batch
        monkeypatch.setattr(
            assigner,
            'assign_batch',
            lambda priors, gt, *rest, plain=plain: (
                given.append((priors, rest[-1])) or plain(priors, gt, *rest)
            ),
        )
    ours.loss(features, proposals, samples)
    assert [boxes.shape for boxes, _ in given[1:]] == [(4, 32, 4)] * 2
    for boxes, mask in given[1:]:
        assert boxes.grad_fn is None
        assert 0 < mask.sum() < mask.numel()
        for image, (height, width) in enumerate(SIZES):
            assert (boxes[image] >= 0).all()
            assert (boxes[image] <= torch.tensor([width, height] * 2)).all()
    assert [sampler.draws for sampler in ours.bbox_sampler] == [1, 1, 1]
    assert len({sampler._owner for sampler in ours.bbox_sampler}) == 3


def test_an_image_is_trained_on_alike_in_any_batch(
    make_cascades, features, proposals, samples, monkeypatch
):
    """The regions of every stage are the same alone and among others."""
    ours, _ = make_cascades()
    seen = []
    plain = ours.loss_of_sample

    def spy(stage, regions, *outputs):
        seen.append(regions)
        return plain(stage, regions, *outputs)

    monkeypatch.setattr(ours, 'loss_of_sample', spy)

    def regions_of(part):
        for sampler in ours.bbox_sampler:
            sampler.draws = 5
        seen.clear()
        ours.loss([level[part] for level in features], proposals[part], samples[part])
        return list(seen)

    whole = regions_of(slice(0, 4))
    for image in range(4):
        alone = regions_of(slice(image, image + 1))
        for mine, others in zip(alone, whole, strict=True):
            valid = mine.sample.valid[0]
            assert torch.equal(valid, others.sample.valid[image])
            assert torch.equal(mine.labels[0], others.labels[image])
            torch.testing.assert_close(mine.boxes[0, valid], others.boxes[image, valid])


@pytest.mark.parametrize('rescale', [False, True])
@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(bbox_head=dict(reg_class_agnostic=False)),
        dict(test_cfg=dict(max_per_img=-1, score_thr=0.0)),
        dict(mask_head=dict()),
        dict(mask_head=dict(class_agnostic=True), test_cfg=dict(mask_thr_binary=-1)),
    ],
    ids=['plain', 'by class', 'all', 'masks', 'shades of masks'],
)
@torch.no_grad()
def test_detections_equal_mmdets(
    make_cascades, features, proposals, masked_samples, changes, rescale
):
    pair = make_cascades(**changes)
    proposals[2] = proposals[2][:0]  # an image without detections

    def detections(head, part):
        return head.eval().predict(
            tuple(level[part] for level in features),
            copy.deepcopy(proposals[part]),
            masked_samples[part],
            rescale=rescale,
        )

    for part in (slice(0, 4), slice(1, 2), slice(2, 3)):
        found, expected = (detections(head, part) for head in pair)
        compare_results(found, expected)
        if 'mask_head' in changes:
            compare_masks(found, expected)
        assert sum(map(len, found)) > 20 or part.start == 2


@BACKENDS
@pytest.mark.parametrize('stock_parts', [True, False])
@pytest.mark.parametrize('case', ['no objects', 'no proposals', 'neither', 'no images'])
def test_nothing_to_train_on(
    make_cascades, features, proposals, masked_samples, stock_parts, backend, case
):
    """Every loss is there, finite, and every parameter has its gradient."""
    ours, _ = make_cascades(stock_parts=stock_parts, mask_head=dict())
    batch = padded_masks(masked_samples)
    if case in ('no objects', 'neither'):
        for sample in batch:
            sample.gt_instances = sample.gt_instances[:0]
    if case in ('no proposals', 'neither'):
        proposals = [one[:0] for one in proposals]
    if case == 'no images':
        features, proposals, batch = [one[:0] for one in features], [], []
    with using(backend):
        losses, gradients = run_losses(ours, features, proposals, batch)
        results = ours.eval().predict(features, proposals, batch, rescale=True)
    assert len(losses) == 12
    for name, loss in losses.items():
        assert torch.isfinite(loss)
        if case in ('neither', 'no images') or (
            case == 'no objects' and 'cls' not in name
        ):
            assert loss == 0 or 'acc' in name, name
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    for sample, result in zip(batch, results, strict=True):
        assert result.masks.shape == (len(result), *sample.ori_shape)


def test_draws_are_resumed(make_cascades, features, proposals, samples):
    ours, _ = make_cascades()
    ours.loss(features, proposals, samples)
    again, _ = make_cascades()
    again.load_state_dict(ours.state_dict())
    expected = ours.loss(features, proposals, samples)
    found = again.loss(features, proposals, samples)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@torch.no_grad()
def test_forward_scores_every_proposal(
    make_cascades, features, proposals, masked_samples
):
    ours, _ = make_cascades(mask_head=dict())
    scores, deltas, masks = ours(tuple(features), proposals, masked_samples)
    assert scores.shape[1:] == (6,) and deltas.shape == (len(scores), 4)
    assert masks.shape == (100, 5, 14, 14)
    assert masks.min() >= 0 and masks.max() <= 1


@pytest.mark.parametrize('key', ['bbox_head', 'stage_loss_weights', 'train_cfg'])
def test_a_list_has_an_entry_a_stage(key):
    config = cascade_config()
    config.type = 'BatchedCascadeRoIHead'
    config[key] = config[key][:2]
    with pytest.raises(UserError, match='num_stages=3, and a list of 2'):
        MODELS.build(ConfigDict(config))
