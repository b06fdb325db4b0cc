"""`BatchedRoIHead` at its edges: empty slots under norms, and nothing to train on."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch.nn.modules.batchnorm import _BatchNorm

from mmfrcnn.ops.backend import using
from mmfrcnn.structures.proposals import Proposals

from .conftest import compare_losses, config_of, run_losses

PARTS = pytest.mark.parametrize(
    'stock_parts', [True, False], ids=['stock parts', 'ours']
)


def with_norm(norm):
    return dict(type='Shared4Conv1FCBBoxHead', conv_out_channels=6, norm_cfg=dict(norm))


@pytest.mark.parametrize(
    'changes',
    [
        dict(bbox_head=with_norm(dict(type='BN'))),
        dict(bbox_head=with_norm(dict(type='SyncBN'))),
        dict(bbox_head=with_norm(dict(type='GN', num_groups=2))),
        dict(shared_head=dict(type='TwoLayersOfTest')),
    ],
    ids=['BN', 'SyncBN', 'GN', 'shared head'],
)
def test_a_norm_sees_no_empty_slots(
    make_pair, same_sample, features, proposals, samples, changes
):
    """Losses, gradients and running statistics, where most slots are empty."""
    sampler = dict(
        type='RandomSampler', num=128, pos_fraction=0.25, add_gt_as_proposals=True
    )
    ours, theirs = make_pair(train_cfg=dict(sampler=sampler), **changes)
    for head in (ours, theirs):
        for module in head.modules():
            if isinstance(module, _BatchNorm | torch.nn.GroupNorm):
                torch.nn.init.ones_(module.weight)
    compare_losses(ours.train(), theirs.train(), features, proposals, samples)
    statistics = dict(theirs.named_buffers())
    assert bool(statistics) == ('GN' not in str(changes))
    for name, value in ours.named_buffers():
        torch.testing.assert_close(value, statistics[name])


@pytest.mark.parametrize('owner', ['box head', 'another'])
def test_only_a_norm_that_sees_the_slots_costs_a_wait(
    make_pair, features, proposals, samples, owner
):
    """What a subclass adds beside the box head, such as a mask head, sees none."""
    ours, _ = make_pair()
    part = ours.bbox_head if owner == 'box head' else ours
    part.more = torch.nn.BatchNorm2d(6)
    seen = []
    ours.bbox_head.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    ours.train().loss(features, proposals, samples)
    slots = 4 * ours.bbox_sampler.num
    assert seen[0] < slots if owner == 'box head' else seen == [slots]


@pytest.mark.parametrize('norm', [None, 'BN'])
@pytest.mark.parametrize('backend', ['cpu', 'reference'])
@PARTS
def test_a_batch_of_no_images(make_pair, features, stock_parts, backend, norm):
    head = with_norm(dict(type=norm)) if norm else None
    ours, _ = make_pair(stock_parts=stock_parts, bbox_head=head)
    ours.bbox_roi_extractor = MODELS.build(
        config_of().bbox_roi_extractor | dict(type='PyramidRoIExtractor')
    )
    features = [level[:0] for level in features]
    slots = Proposals(
        torch.zeros(0, 7, 4), torch.zeros(0, 7), torch.zeros(0, 7, dtype=torch.bool)
    )
    before = {name: value.clone() for name, value in ours.named_buffers()}
    with using(backend):
        for nothing in ([], slots):
            losses, gradients = run_losses(ours, features, nothing, [])
            assert losses['loss_cls'] == losses['loss_bbox'] == losses['acc'] == 0
            assert not any(gradient.any() for gradient in gradients.values())
            assert len(ours.predict(features, nothing, [], rescale=True)) == 0
    for name, value in ours.named_buffers():
        assert 'tracked' in name or torch.equal(value, before[name])


def empty(count=0):
    return InstanceData(
        bboxes=torch.zeros(count, 4),
        scores=torch.zeros(count),
        labels=torch.zeros(count, dtype=torch.int64),
    )


@PARTS
def test_no_proposals_at_all(make_pair, features, samples, stock_parts):
    ours, _ = make_pair(stock_parts=stock_parts)
    for sample in samples:
        sample.gt_instances = sample.gt_instances[:0]
    nothing = [empty() for _ in samples]
    losses, gradients = run_losses(ours, features, nothing, samples)
    assert losses['loss_bbox'] == 0
    assert losses['loss_cls'] == 0
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    with torch.no_grad():
        results = ours.predict(tuple(features), nothing, samples, rescale=True)
    assert [len(one) for one in results] == [0] * 4


@PARTS
def test_ground_truth_but_no_proposals(make_pair, features, samples, stock_parts):
    ours, _ = make_pair(stock_parts=stock_parts)
    nothing = [empty() for _ in samples]
    losses, gradients = run_losses(ours, features, nothing, samples)
    assert losses['loss_cls'] > 0
    assert losses['loss_bbox'] >= 0
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())


@PARTS
def test_proposals_but_no_ground_truth(
    make_pair, features, proposals, samples, stock_parts
):
    ours, _ = make_pair(stock_parts=stock_parts)
    for sample in samples:
        sample.gt_instances = sample.gt_instances[:0]
    losses, gradients = run_losses(ours, features, proposals, samples)
    assert losses['loss_cls'] > 0
    assert losses['loss_bbox'] == 0
    assert not gradients['bbox_head.fc_reg.weight'].any()
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
