"""`RegionProposalHead` at its edges: defaults, attributes, no images, broken deltas."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData

from mmfrcnn.errors import UserError


def test_broken_deltas_are_dropped_where_no_size_is_asked_for(
    make_pair, features, metas
):
    ours, _ = make_pair(test_cfg=dict(min_bbox_size=-1, nms_pre=-1, max_per_img=-1))
    scores, deltas = ours(features)
    deltas = [level.detach().clone() for level in deltas]
    deltas[0][:, :, 3, 5] = float('nan')  # three anchors of every image
    whole = ours.predict_by_feat(*ours(features), metas)
    proposals = ours.predict_by_feat(scores, deltas, metas)
    assert torch.isfinite(whole.boxes).all() and torch.isfinite(proposals.boxes).all()
    ours.test_cfg['nms'] = dict(type='nms', iou_threshold=1.0)  # drops nothing
    whole = ours.predict_by_feat(*ours(features), metas)
    proposals = ours.predict_by_feat(scores, deltas, metas)
    assert torch.equal(whole.mask.sum(1) - proposals.mask.sum(1), torch.full((4,), 3))


def test_scores_of_zero_and_at_the_threshold_are_kept(make_pair, features, metas):
    """Nothing is suppressed here, so the anchors can be counted."""
    everything = dict(nms_pre=-1, max_per_img=-1, min_bbox_size=-1)
    nms = dict(type='nms', iou_threshold=1.0)
    ours, _ = make_pair(test_cfg=dict(everything, nms=nms))
    scores, deltas = ours([level[:1, :, :12, :16] for level in features])
    sizes = [level.numel() for level in scores]
    sunk = [torch.full_like(level, -200) for level in scores]  # the sigmoid is 0
    proposals = ours.predict_by_feat(sunk, deltas, metas[:1])
    assert int(proposals.mask.sum()) == sum(sizes) and not proposals.scores.any()
    ours.test_cfg['score_thr'] = 0.5
    for place, level in enumerate(sunk):
        level.fill_(0.0 if place == 1 else -1e-3)
    proposals = ours.predict_by_feat(sunk, deltas, metas[:1])
    assert int(proposals.mask.sum()) == sizes[1]


def test_a_batch_of_no_images(make_pair, features):
    ours, _ = make_pair()
    maps = ours([level[:0] for level in features])
    assert len(ours.predict_by_feat(*maps, [])) == 0
    losses = ours.loss_by_feat(*maps, [], [])
    total = losses['loss_rpn_cls'] + losses['loss_rpn_bbox']
    total.backward()
    assert total == 0


@pytest.mark.parametrize('softmax', [False, True])
def test_defaults_and_attributes_are_mmdets(softmax):
    options = dict(in_channels=8)
    if softmax:
        options['loss_cls'] = dict(type='CrossEntropyLoss', use_sigmoid=False)
    ours = MODELS.build(dict(type='RegionProposalHead', **options))
    theirs = MODELS.build(dict(type='RPNHead', num_classes=1, **options))
    for name in (
        'in_channels',
        'feat_channels',
        'num_classes',
        'cls_out_channels',
        'use_sigmoid_cls',
        'num_base_priors',
        'reg_decoded_bbox',
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    sizes = [(4, 4), (2, 2), (1, 1), (1, 1), (1, 1)]
    for mine, other in zip(
        *(
            head.prior_generator.grid_priors(sizes, device='cpu')
            for head in (ours, theirs)
        ),
        strict=True,
    ):
        assert torch.equal(mine, other)
    coder = vars(theirs.bbox_coder) | vars(ours.bbox_coder)
    assert coder == vars(theirs.bbox_coder)
    for name in ('loss_cls', 'loss_bbox'):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert type(mine) is type(other) and mine.extra_repr() == other.extra_repr()
        assert mine.loss_weight == other.loss_weight
    assert ours.loss_bbox.beta == theirs.loss_bbox.beta


@pytest.mark.parametrize('border', [0, 3])
def test_an_image_without_an_anchor_inside_is_named(
    make_pair, features, metas, gt, border
):
    """Wherever it stands in a batch; mmdet refuses the batch, too."""
    ours, theirs = make_pair(train_cfg=dict(allowed_border=border))
    metas[1].update(img_shape=(9, 8), img_path='photos/tiny.jpg', ori_shape=(18, 16))
    words = r'^photos/tiny\.jpg: resized to \(9, 8\) .*allowed_border=-1'
    with pytest.raises(UserError, match=words):
        ours.loss_by_feat(*ours(features), gt, metas)
    with pytest.raises(ValueError, match='no valid anchor'):
        theirs.loss_by_feat(*theirs(features), gt, metas)
    del metas[1]['img_path']
    with pytest.raises(UserError, match=r'^An image of \(18, 16\) px: resized to'):
        ours.loss_by_feat(*ours(features), gt, metas)
    metas[1]['img_shape'] = (100, 256)
    kept = [level[:3] for level in features]  # the last has no anchor inside, either
    losses = ours.loss_by_feat(*ours(kept), gt[:3], metas[:3])
    assert all(losses[name].isfinite() for name in losses if 'loss' in name)


def test_a_tiny_image_where_anchors_may_cross_the_border(make_pair):
    ours, _ = make_pair(train_cfg=dict(allowed_border=-1))
    features = [torch.randn(1, 8, size, size) for size in (2, 1, 1, 1, 1)]
    box = InstanceData(
        bboxes=torch.tensor([[1.0, 1.0, 6.0, 7.0]]), labels=torch.tensor([0])
    )
    meta = dict(img_shape=(8, 8), pad_shape=(8, 8), img_id=0)
    total = sum(ours.loss_by_feat(*ours(features), [box], [meta]).values())
    assert torch.isfinite(total) and total > 0


def test_wrong_arguments_are_named(make_pair):
    with pytest.raises(UserError, match=r'num_classes.*80'):
        MODELS.build(dict(type='RegionProposalHead', in_channels=8, num_classes=80))
    uneven = dict(
        type='SSDAnchorGenerator',
        strides=[8, 16, 32],
        ratios=[[2], [2, 3], [2]],
        basesize_ratio_range=(0.15, 0.9),
    )
    with pytest.raises(UserError, match='as many anchors'):
        MODELS.build(
            dict(type='RegionProposalHead', in_channels=8, anchor_generator=uneven)
        )
    ours, _ = make_pair(test_cfg=dict(nms=dict(type='soft_nms', iou_threshold=0.5)))
    with pytest.raises(UserError, match='soft_nms'):
        ours.predict_by_feat(
            *ours([torch.zeros(1, 8, 4, 4)] * 5), [dict(img_shape=(16, 16))]
        )
    with pytest.raises(TypeError, match='in_chanels'):
        MODELS.build(dict(type='RegionProposalHead', in_chanels=8, in_channels=8))


def test_a_sampler_that_adds_ground_truth_is_refused(make_pair):
    """Anchors are sampled, not boxes: mmdet's default would shift every index."""
    adding = dict(type='RandomSampler', num=64, pos_fraction=0.5)
    with pytest.raises(UserError, match='add_gt_as_proposals'):
        make_pair(train_cfg=dict(sampler=adding))
