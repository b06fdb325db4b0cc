"""`BatchedRoIHead` against mmdet's `StandardRoIHead` with equal weights and samples."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmfrcnn.errors import UserError

from .conftest import CLASSES, SIZES, compare_losses, config_of, run_losses


@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(train_cfg=dict(pos_weight=3.0)),
        dict(bbox_head=dict(reg_class_agnostic=True)),
        dict(
            bbox_head=dict(
                reg_decoded_bbox=True,
                loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
            )
        ),
        dict(
            bbox_head=dict(
                reg_class_agnostic=True,
                reg_decoded_bbox=True,
                loss_bbox=dict(type='IoULoss'),
            )
        ),
        dict(bbox_head=dict(loss_bbox=dict(type='SmoothL1Loss', beta=0.5))),
        dict(
            bbox_head=dict(loss_cls=dict(type='CrossEntropyLoss', loss_weight=2.0)),
            train_cfg=dict(
                sampler=dict(
                    type='RandomSampler',
                    num=16,
                    pos_fraction=0.5,
                    neg_pos_ub=2,
                    add_gt_as_proposals=False,
                )
            ),
        ),
    ],
    ids=['plain', 'pos_weight', 'agnostic', 'giou', 'iou', 'smooth', 'no gt added'],
)
def test_losses_and_gradients_equal_mmdets(
    make_pair, same_sample, features, proposals, samples, changes
):
    pair = make_pair(**changes)
    found = compare_losses(*pair, features, proposals, samples)
    assert found['loss_bbox'] > 0
    for image in range(4):
        part = slice(image, image + 1)
        alone = [level[part] for level in features]
        compare_losses(*pair, alone, proposals[part], samples[part])


def test_losses_with_mmdets_parts_in_our_head_equal_mmdets(
    make_pair, first_ones, features, proposals, samples
):
    pair = make_pair(stock_parts=True)
    compare_losses(*pair, features, proposals, samples)


def test_losses_with_ignored_regions_equal_mmdets(
    make_pair, same_sample, features, proposals, samples
):
    assigner = dict(
        type='MaxIoUAssigner',
        pos_iou_thr=0.5,
        neg_iou_thr=0.5,
        min_pos_iou=0.5,
        match_low_quality=False,
        ignore_iof_thr=0.5,
    )
    pair = make_pair(train_cfg=dict(assigner=assigner))
    plain = compare_losses(*pair, features, proposals, samples)
    for sample, size in zip(samples, SIZES, strict=True):
        box = torch.tensor([[0.0, 0.0, size[1] * 0.7, size[0]]])
        sample.ignored_instances = InstanceData(bboxes=box, labels=torch.tensor([0]))
    less = compare_losses(*pair, features, proposals, samples)
    assert plain['loss_cls'] != less['loss_cls']


def compare_results(found, expected):
    for mine, other in zip(found, expected, strict=True):
        assert len(mine) == len(other)
        assert torch.equal(mine.labels, other.labels)
        torch.testing.assert_close(mine.scores, other.scores, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(mine.bboxes, other.bboxes, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize('rescale', [False, True])
@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(bbox_head=dict(reg_class_agnostic=True)),
        dict(test_cfg=dict(max_per_img=-1, score_thr=0.0)),
        dict(
            test_cfg=dict(nms=dict(type='nms', iou_threshold=0.4, class_agnostic=True))
        ),
        dict(
            test_cfg=dict(nms=dict(type='soft_nms', iou_threshold=0.5, min_score=0.05))
        ),
        dict(test_cfg=dict(nms=dict(type='nms', iou_threshold=0.5, split_thr=50))),
    ],
    ids=['plain', 'agnostic', 'all', 'agnostic nms', 'soft_nms', 'split_thr'],
)
@torch.no_grad()
def test_detections_equal_mmdets(
    make_pair, features, proposals, samples, changes, rescale
):
    ours, theirs = make_pair(**changes)
    found = ours.predict(
        tuple(features), copy.deepcopy(proposals), samples, rescale=rescale
    )
    expected = theirs.predict(
        tuple(features), copy.deepcopy(proposals), samples, rescale=rescale
    )
    compare_results(found, expected)
    assert sum(map(len, found)) > 20
    for image in range(4):
        part = slice(image, image + 1)
        alone = ours.predict(
            tuple(level[part] for level in features),
            copy.deepcopy(proposals[part]),
            samples[part],
            rescale=rescale,
        )
        compare_results(alone, found[part])


def test_samples_without_ignored_instances(make_pair, features, proposals, samples):
    ours, _ = make_pair()
    for sample in samples:
        del sample.ignored_instances
    losses, _ = run_losses(ours, features, proposals, samples)
    assert torch.isfinite(losses['loss_cls'])


def test_sides_of_a_detection_are_at_least_the_smallest(make_pair, features, samples):
    ours, _ = make_pair(
        bbox_head=dict(reg_class_agnostic=True),
        test_cfg=dict(min_bbox_size=8, score_thr=0.0, max_per_img=-1),
    )
    for parameter in ours.bbox_head.fc_reg.parameters():
        parameter.data.zero_()  # boxes stay as they are
    boxes = torch.tensor(
        [[10, 10, 18, 40], [10, 50, 17.9, 90], [60, 10, 90, 18], [99, 10, 130, 17.9]]
    )
    found = ours.predict(
        [level[:1] for level in features], [InstanceData(bboxes=boxes)], samples[:1]
    )
    assert torch.equal(found[0].bboxes.unique(dim=0), boxes[::2])


def test_forward_scores_every_proposal(make_pair, features, proposals, samples):
    ours, _ = make_pair()
    scores, deltas = ours(tuple(features), proposals, samples)
    slots = max(map(len, proposals)) * 4
    assert scores.shape == (slots, CLASSES + 1)
    assert deltas.shape == (slots, 4 * CLASSES)


def test_classes_of_a_sigmoid_loss_are_independent(
    make_pair, features, proposals, samples
):
    focal = dict(type='FocalLoss', use_sigmoid=True)
    ours, _ = make_pair(bbox_head=dict(loss_cls=focal))
    ours.eval()
    with torch.no_grad():
        logits, _ = ours(features, proposals)
        results = ours.predict(features, proposals, samples)
    possible = logits[:, :CLASSES].sigmoid()
    for result in results:
        assert len(result) > 0
        for score, label in zip(result.scores, result.labels, strict=True):
            assert (possible[:, label] - score).abs().min() < 1e-6


@pytest.mark.parametrize(
    'head, words',
    [
        (dict(type='SABLHead'), None),
        (
            dict(
                loss_cls=dict(type='SeesawLoss', num_classes=CLASSES, use_sigmoid=False)
            ),
            ['StandardRoIHead', 'Shared2FCBBoxHead'],
        ),
    ],
)
def test_box_heads_with_their_own_way_are_refused(head, words):
    config = config_of(bbox_head=head if words else None)
    config.type = 'BatchedRoIHead'
    if words is None:
        config.bbox_head = ConfigDict(
            type='SABLHead',
            num_classes=CLASSES,
            cls_in_channels=6,
            reg_in_channels=6,
            roi_feat_size=7,
        )
        words = ['StandardRoIHead', 'SABLHead']
    with pytest.raises(UserError) as error:
        MODELS.build(config)
    assert all(word in str(error.value) for word in words)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu(make_pair, features, proposals, samples):
    ours, _ = make_pair()
    here, _ = run_losses(ours, features, proposals, samples)
    ours.cuda()
    ours.bbox_sampler.draws = 0  # the same draw again
    there, _ = run_losses(
        ours,
        [level.cuda() for level in features],
        [one.cuda() for one in proposals],
        [sample.cuda() for sample in samples],
    )
    for name in here:
        torch.testing.assert_close(there[name].cpu(), here[name], rtol=1e-4, atol=1e-4)
