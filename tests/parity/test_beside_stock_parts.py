"""Each part of ours alone inside mmdet's detectors, and mmdet's parts beside ours."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import ConfigDict

ALL = ('rpn_head', 'roi_head', 'extractor', 'assigner', 'sampler')
AROUND = ('rpn_head', 'extractor', 'assigner', 'sampler')  # the RoI head


@pytest.fixture
def check(build, train_step, predict, fabricated):
    """Return a function: one training step and one prediction, both sound."""

    def run(config, **kwargs):
        config.train_cfg.rpn_proposal.max_per_img = 100
        config.test_cfg.rpn.max_per_img = 100
        model = build(config)
        batch = fabricated(**kwargs)
        losses = train_step(model, batch)
        assert all(torch.isfinite(loss).all() for loss in losses.values())
        assert losses['loss_rpn_cls'] > 0
        missing = [
            name
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and parameter.grad is None
        ]
        assert not missing
        assert all(
            torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad
        )
        results = predict(model, batch)
        assert len(results) == len(batch)
        assert all(torch.isfinite(one.bboxes).all() for one in results)
        assert sum(map(len, results)) > 0
        return model, losses, results

    return run


@pytest.mark.parametrize('part', ALL)
def test_our_part_alone_inside_mmdets_detector(
    stock_config, replace_types, check, part
):
    check(replace_types(stock_config(), [part]))


@pytest.mark.parametrize('part', ALL)
def test_mmdets_part_beside_ours(our_config, replace_types, check, part):
    check(replace_types(our_config, [part], back=True))


@pytest.mark.parametrize(
    'name, parts',
    [
        ('mask-rcnn', AROUND),
        ('cascade-rcnn', AROUND),
        ('cascade-mask-rcnn', AROUND),
        ('mask-rcnn', ['roi_head']),
        ('cascade-mask-rcnn', ['cascade']),
        ('cascade-mask-rcnn', (*AROUND, 'cascade')),
    ],
)
def test_our_parts_in_other_algorithms(stock_config, replace_types, check, name, parts):
    config = replace_types(stock_config(name), parts)
    model, losses, _ = check(config, masks='mask' in name)
    assert ('rpn_head' in parts) == (model.rpn_head.__module__[:7] == 'mmfrcnn')
    assert ('mask' not in name) or any('loss_mask' in key for key in losses)


@pytest.mark.parametrize(
    'sampler',
    [
        dict(type='OHEMSampler', num=64, pos_fraction=0.25, add_gt_as_proposals=True),
        dict(
            type='CombinedSampler',
            num=64,
            pos_fraction=0.25,
            add_gt_as_proposals=True,
            pos_sampler=dict(type='InstanceBalancedPosSampler'),
            neg_sampler=dict(type='IoUBalancedNegSampler', floor_thr=-1, num_bins=3),
        ),
        dict(
            type='CombinedSampler',
            num=64,
            pos_fraction=0.25,
            add_gt_as_proposals=True,
            pos_sampler=dict(type='BalancedSampler'),
            neg_sampler=dict(type='IoUBalancedNegSampler', floor_thr=0.1),
        ),
        dict(type='PseudoSampler'),
    ],
    ids=['ohem', 'combined', 'combined with ours', 'pseudo'],
)
@pytest.mark.parametrize('roi_head', ['BatchedRoIHead', 'StandardRoIHead'])
def test_other_samplers_in_the_second_stage(our_config, check, sampler, roi_head):
    our_config.roi_head.type = roi_head
    our_config.train_cfg.rcnn.sampler = ConfigDict(sampler)
    our_config.train_cfg.rpn_proposal.max_per_img = 100
    check(our_config)


def test_hard_examples_are_mined(our_config, build, train_step, fabricated):
    """OHEM picks what the head gets wrong: its loss exceeds that of a random sample."""
    losses = {}
    for kind in ('OHEMSampler', 'RandomSampler'):
        our_config.train_cfg.rcnn.sampler = ConfigDict(
            type=kind, num=32, pos_fraction=0.25, add_gt_as_proposals=True
        )
        losses[kind] = train_step(build(our_config), fabricated())['loss_cls']
    assert losses['OHEMSampler'] > 1.2 * losses['RandomSampler']


@pytest.mark.parametrize(
    'assigner',
    [
        dict(type='ApproxMaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3),
        dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.3),
        dict(type='DynamicSoftLabelAssigner'),
    ],
    ids=lambda assigner: assigner['type'],
)
def test_an_assigner_of_another_interface_fails_loudly(
    our_config, build, train_step, fabricated, assigner
):
    """Those that want more than boxes raise; they do not train on nonsense."""
    our_config.train_cfg.rpn.assigner = ConfigDict(assigner)
    with pytest.raises((TypeError, AttributeError)):
        train_step(build(our_config), fabricated())


def test_proposals_alone(our_config, collate, fabricated):
    """mmdet's RPN detector, trained and asked for proposals."""
    from mmdet.registry import MODELS

    config = ConfigDict(
        type='RPN',
        data_preprocessor=our_config.data_preprocessor,
        backbone=our_config.backbone,
        neck=our_config.neck,
        rpn_head=our_config.rpn_head,
        train_cfg=dict(rpn=our_config.train_cfg.rpn),
        test_cfg=dict(rpn=our_config.test_cfg.rpn),
    )
    model = MODELS.build(config)
    losses = model(**collate(model, fabricated(), True), mode='loss')
    assert {n for n in losses if 'loss' in n} == {'loss_rpn_cls', 'loss_rpn_bbox'}
    model.eval()
    with torch.no_grad():
        results = model(**collate(model, fabricated()), mode='predict')
    assert all(len(one.pred_instances) > 10 for one in results)
    assert all((one.pred_instances.labels == 0).all() for one in results)


@pytest.mark.parametrize('shared', [False, True])
def test_single_level_detector(
    our_config, build, train_step, predict, fabricated, shared
):
    """C4: stride 16, nine anchors, layers between pooling and box head."""
    our_config.pop('neck')
    our_config.backbone.update(out_indices=(2,), num_stages=3, strides=(1, 2, 2))
    our_config.backbone.update(dilations=(1, 1, 1))
    width = 32
    our_config.rpn_head.update(
        in_channels=width,
        anchor_generator=dict(
            type='AnchorGenerator',
            scales=[2, 4, 8],
            ratios=[0.5, 1.0, 2.0],
            strides=[16],
        ),
    )
    our_config.roi_head.bbox_roi_extractor.update(
        out_channels=width, featmap_strides=[16]
    )
    our_config.roi_head.bbox_head.in_channels = width
    if shared:
        our_config.roi_head.shared_head = ConfigDict(
            type='ResLayer', depth=50, stage=1, stride=2, norm_eval=True
        )
        our_config.backbone.base_channels = 64
        our_config.rpn_head.in_channels = 256
        our_config.roi_head.bbox_roi_extractor.out_channels = 256
        our_config.roi_head.bbox_head.update(in_channels=512, roi_feat_size=4)
    our_config.train_cfg.rcnn.sampler.num = 32
    our_config.test_cfg.rpn.max_per_img = 32
    model, batch = build(our_config), fabricated(((96, 128, 3), (128, 90, 1)))
    losses = train_step(model, batch)
    assert all(torch.isfinite(loss).all() for loss in losses.values())
    assert sum(map(len, predict(model, batch))) > 0
