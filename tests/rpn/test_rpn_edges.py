"""`RegionProposalHead` at its edges: defaults, attributes, no images, broken deltas."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS


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
    sum(losses.values()).backward()
    assert sum(losses.values()) == 0


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
    assert vars(ours.bbox_coder) == vars(theirs.bbox_coder)
    for name in ('loss_cls', 'loss_bbox'):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert type(mine) is type(other) and mine.extra_repr() == other.extra_repr()
        assert mine.loss_weight == other.loss_weight
    assert ours.loss_bbox.beta == theirs.loss_bbox.beta
