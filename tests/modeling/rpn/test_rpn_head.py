"""`RegionProposalHead` against mmdet's `RPNHead` with equal weights."""

from __future__ import annotations

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmfrcnn.modeling.rpn_head import RegionProposalHead
from mmfrcnn.structures.proposals import Proposals

SOFTMAX = pytest.mark.parametrize('softmax', [False, True], ids=['sigmoid', 'softmax'])


def compare_proposals(ours, theirs):
    """Same scores in the same order, same boxes but for ties in score."""
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert len(mine) == len(other)
        assert mine.labels.dtype == torch.int64
        torch.testing.assert_close(mine.scores, other.scores, atol=1e-6, rtol=1e-6)
        if len(mine):
            apart = torch.cdist(mine.bboxes, other.bboxes, p=float('inf'))
            assert (apart.amin(1) < 1e-3).float().mean() > 0.99
            assert (apart.diagonal() < 1e-3).float().mean() > 0.98


@SOFTMAX
def test_parameters_are_mmdets(make_pair, softmax):
    ours, theirs = make_pair(softmax=softmax)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours, theirs = make_pair(softmax=softmax, num_convs=3)
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize('num_convs', [1, 2])
@SOFTMAX
def test_maps_equal_mmdets(make_pair, features, softmax, num_convs):
    ours, theirs = make_pair(softmax=softmax, num_convs=num_convs)
    for found, expected in zip(ours(features), theirs(features), strict=True):
        for mine, other in zip(found, expected, strict=True):
            assert torch.equal(mine, other)


@SOFTMAX
@pytest.mark.parametrize(
    'test_cfg',
    [
        dict(),
        dict(nms_pre=20),
        dict(nms_pre=0, max_per_img=500),
        dict(nms_pre=-1, max_per_img=5),
        dict(min_bbox_size=12),
        dict(min_bbox_size=1000),
        dict(min_bbox_size=-1),
        dict(nms=dict(type='nms', iou_threshold=0.2)),
        dict(nms=dict(type='nms', iou_threshold=0.7, split_thr=100)),
    ],
    ids=str,
)
@torch.no_grad()
def test_proposals_equal_mmdets(make_pair, features, metas, softmax, test_cfg):
    ours, theirs = make_pair(softmax=softmax, test_cfg=test_cfg)
    for rescale in (False, True):
        found = ours.predict_by_feat(*ours(features), metas, rescale=rescale)
        if rescale and test_cfg.get('min_bbox_size', 0) > 0:
            continue  # mmdet would measure the rescaled boxes
        expected = theirs.predict_by_feat(
            *theirs(features), batch_img_metas=metas, rescale=rescale
        )
        compare_proposals(found, expected)


@torch.no_grad()
def test_one_image_alone_equals_itself_in_a_batch(make_pair, features, metas):
    ours, _ = make_pair()
    together = ours.predict_by_feat(*ours(features), metas)
    for image, meta in enumerate(metas):
        alone = [level[image : image + 1] for level in features]
        proposals = ours.predict_by_feat(*ours(alone), [meta])
        compare_proposals(proposals, [together[image]])


@torch.no_grad()
def test_proposals_are_ranked_inside_the_image_and_large_enough(
    make_pair, features, metas
):
    ours, _ = make_pair(test_cfg=dict(min_bbox_size=3))
    proposals = ours.predict_by_feat(*ours(features), metas)
    assert proposals.boxes.shape[:2] == proposals.scores.shape == proposals.mask.shape
    assert (proposals.scores.diff(dim=1) <= 0).all()
    assert (proposals.mask.int().diff(dim=1) <= 0).all()
    assert not proposals.boxes[~proposals.mask].any()
    assert not proposals.scores[~proposals.mask].any()
    for image, meta in enumerate(metas):
        boxes = proposals[image].bboxes
        assert len(boxes) == int(proposals.mask[image].sum())
        height, width = meta['img_shape']
        assert (boxes >= 0).all()
        assert (boxes[:, 0::2] <= width).all()
        assert (boxes[:, 1::2] <= height).all()
        assert ((boxes[:, 2:] - boxes[:, :2]) > 3).all()


def compare_losses(ours, theirs, features, metas, gt, ignored=None):
    results = []
    for head in (ours, theirs):
        head.zero_grad()
        losses = head.loss_by_feat(
            *head(features),
            batch_gt_instances=gt,
            batch_img_metas=metas,
            batch_gt_instances_ignore=ignored,
        )
        total = {
            name: sum(loss) if isinstance(loss, list) else loss
            for name, loss in losses.items()
            if 'loss' in name  # the others are figures for the log
        }
        sum(total.values()).backward()
        gradients = {name: p.grad for name, p in head.named_parameters()}
        results.append((total, gradients))
    (found, ours_grad), (expected, theirs_grad) = results
    assert set(found) == set(expected) == {'loss_rpn_cls', 'loss_rpn_bbox'}
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-7)
    for name, gradient in ours_grad.items():
        torch.testing.assert_close(
            gradient, theirs_grad[name], rtol=1e-4, atol=1e-6, msg=name
        )
    return found


@SOFTMAX
@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(train_cfg=dict(allowed_border=0)),
        dict(train_cfg=dict(allowed_border=16)),
        dict(train_cfg=dict(pos_weight=2.5)),
        dict(loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=2.0)),
        dict(reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss', loss_weight=5.0)),
        dict(reg_decoded_bbox=True, loss_bbox=dict(type='IoULoss')),
        dict(
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=(0.1, 0.1, 0.2, 0.2))
        ),
        dict(
            train_cfg=dict(
                assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.0)
            )
        ),
    ],
    ids=[
        'plain',
        'inside',
        'border',
        'pos_weight',
        'smooth',
        'giou',
        'iou',
        'stds',
        'no negatives',
    ],
)
def test_losses_and_gradients_equal_mmdets(
    make_pair, same_sample, features, metas, gt, softmax, changes
):
    """Our assigner and sampler in our head, mmdet's in mmdet's."""
    ours, theirs = make_pair(softmax=softmax, **changes)
    if changes.get('train_cfg', {}).get('allowed_border', -1) == 0:
        # mmdet refuses an image so small that no anchor lies inside.
        features = [level[:2] for level in features]
        metas, gt = metas[:2], gt[:2]
    compare_losses(ours, theirs, features, metas, gt)


@pytest.mark.parametrize('image', range(4))
def test_losses_of_one_image_equal_mmdets(
    make_pair, same_sample, features, metas, gt, image
):
    ours, theirs = make_pair()
    alone = [level[image : image + 1] for level in features]
    compare_losses(ours, theirs, alone, metas[image : image + 1], [gt[image]])


def test_losses_where_the_padding_ends_with_a_cell(
    make_pair, same_sample, features, metas, gt
):
    """The last row and column of cells lie just beyond it; all others are sampled."""
    sampler = dict(
        type='RandomSampler', num=20_000, pos_fraction=0.5, add_gt_as_proposals=False
    )
    metas[0]['pad_shape'] = (188, 252)
    compare_losses(
        *make_pair(train_cfg=dict(sampler=sampler)),
        [level[:1] for level in features],
        metas[:1],
        gt[:1],
    )


def test_losses_with_mmdets_parts_in_our_head_equal_mmdets(
    make_pair, first_ones, features, metas, gt
):
    compare_losses(*make_pair(stock_parts=True), features, metas, gt)


def test_losses_with_ignored_regions_equal_mmdets(
    make_pair, same_sample, features, metas, gt
):
    ours, theirs = make_pair(
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                ignore_iof_thr=0.5,
            )
        )
    )
    plain = compare_losses(ours, theirs, features, metas, gt)
    regions = [
        InstanceData(bboxes=torch.tensor([[0.0, 0.0, 250.0, 60.0]])),
        InstanceData(bboxes=torch.zeros(0, 4)),
        InstanceData(bboxes=torch.tensor([[0.0, 0.0, 60.0, 190.0]])),
        InstanceData(bboxes=torch.tensor([[0.0, 0.0, 47.0, 33.0]] * 2)),
    ]
    less = compare_losses(ours, theirs, features, metas, gt, regions)
    assert less['loss_rpn_cls'] != plain['loss_rpn_cls']


def test_samples_without_ignored_instances(make_pair, features, metas, gt):
    """mmdet's pipelines add them; a user's own samples may not."""
    ours, _ = make_pair()
    samples = [
        DetDataSample(gt_instances=one, metainfo=meta)
        for one, meta in zip(gt, metas, strict=True)
    ]
    losses, proposals = ours.loss_and_predict(features, samples, ours.test_cfg)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert isinstance(proposals, Proposals)
    assert all(torch.isfinite(loss) for loss in ours.loss(features, samples).values())


def test_parts_of_ours_inside_mmdets_head(make_pair, features, metas, gt):
    """And the other way round."""
    assigner = dict(
        type='AnchorAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3
    )
    sampler = dict(
        type='BalancedSampler', num=64, pos_fraction=0.5, add_gt_as_proposals=False
    )
    for parts in (
        dict(assigner=assigner),
        dict(sampler=sampler),
        dict(assigner=assigner, sampler=sampler),
    ):
        for head in make_pair(train_cfg=parts):
            losses = head.loss_by_feat(
                *head(features), batch_gt_instances=gt, batch_img_metas=metas
            )
            total = sum(
                sum(loss) if isinstance(loss, list) else loss
                for name, loss in losses.items()
                if 'loss' in name
            )
            total.backward()
            assert torch.isfinite(total)
            assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_the_sample_of_an_image_is_the_same_in_any_batch(
    make_pair, features, metas, gt, monkeypatch
):
    """Alone, its feature maps are smaller: other places, the same anchors."""
    ours, _ = make_pair(
        train_cfg=dict(
            sampler=dict(
                type='BalancedSampler',
                num=64,
                pos_fraction=0.5,
                add_gt_as_proposals=False,
                seed=0,
            )
        )
    )
    drawn = []
    loss_of_sample = RegionProposalHead.loss_of_sample

    def spy(self, sample, scores, deltas, anchors, targets):
        drawn.append((sample, anchors, targets))
        return loss_of_sample(self, sample, scores, deltas, anchors, targets)

    monkeypatch.setattr(RegionProposalHead, 'loss_of_sample', spy)
    ours.loss_by_feat(*ours(features), gt, metas)
    for image, meta in enumerate(metas):
        height, width = meta['pad_shape']
        alone = [
            level[image : image + 1, :, : -(-height // stride), : -(-width // stride)]
            for level, stride in zip(features, (4, 8, 16, 32, 64), strict=True)
        ]
        ours.sampler.draws = 0
        ours.loss_by_feat(*ours(alone), [gt[image]], [meta])
        (whole, anchors, targets), (single, own, own_targets) = drawn[0], drawn[-1]
        assert torch.equal(whole.valid[image], single.valid[0])
        assert torch.equal(whole.positive[image], single.positive[0])
        valid, positive = single.valid[0], single.positive[0]
        assert torch.equal(anchors[image, valid], own[0, valid])
        assert torch.equal(targets[image, positive], own_targets[0, positive])
    assert len(drawn) == 5


@SOFTMAX
def test_no_proposal_survives(make_pair, features, metas, softmax):
    ours, _ = make_pair(softmax=softmax, test_cfg=dict(min_bbox_size=1e6))
    proposals = ours.predict_by_feat(*ours(features), metas)
    assert not proposals.mask.any()
    assert [len(one) for one in proposals] == [0] * 4
    assert proposals[0].bboxes.shape == (0, 4)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@SOFTMAX
def test_broken_numbers_give_no_broken_proposals(
    make_pair, features, metas, softmax, value
):
    ours, _ = make_pair(softmax=softmax)
    scores, deltas = ours(features)
    for broken in (scores, deltas):
        maps = tuple([level.detach().clone() for level in x] for x in (scores, deltas))
        target = maps[0] if broken is scores else maps[1]
        target[0][0] = value
        target[2][1, 0, 0, 0] = value
        proposals = ours.predict_by_feat(*maps, metas)
        assert torch.isfinite(proposals.boxes).all()
        assert torch.isfinite(proposals.scores).all()
        assert len(proposals[3]) > 0
        everything = [torch.full_like(level, value) for level in target]
        maps = (everything, maps[1]) if broken is scores else (maps[0], everything)
        proposals = ours.predict_by_feat(*maps, metas)
        assert torch.isfinite(proposals.boxes).all()


def test_batch_without_objects(make_pair, features, metas):
    ours, _ = make_pair()
    nothing = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64)
    )
    losses = ours.loss_by_feat(*ours(features), [nothing] * 4, metas)
    sum(losses.values()).backward()
    assert losses['loss_rpn_bbox'] == 0
    assert losses['loss_rpn_cls'] > 0
    assert not ours.rpn_reg.weight.grad.any()
    assert all(torch.isfinite(p.grad).all() for p in ours.parameters())


def test_anchors_are_made_once_a_shape(make_pair, features, metas):
    ours, _ = make_pair()
    calls = []
    original = ours.prior_generator.grid_priors

    def counted(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    ours.prior_generator.grid_priors = counted
    for _ in range(3):
        ours.predict_by_feat(*ours(features), metas)
        smaller = [
            level[..., :-1] if level.shape[-1] > 4 else level for level in features
        ]
        ours.predict_by_feat(*ours(smaller), metas)
    assert len(calls) == 2
    for size in range(40):
        ours.anchor_grid([(size + 1, 1)] * 5, torch.device('cpu'))
    assert len(ours.anchor_grid._grids) <= 32


def test_a_head_used_in_inference_mode_can_be_trained(make_pair, features, metas, gt):
    ours, _ = make_pair(reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss'))
    with torch.inference_mode():
        ours.predict_by_feat(*ours(features), metas)
    losses = ours.loss_by_feat(*ours(features), gt, metas)
    sum(losses.values()).backward()
    assert torch.isfinite(ours.rpn_reg.weight.grad).all()


def test_single_level_with_nine_anchors(make_pair, same_sample, metas, gt):
    """The paper's anchors: stride 16, three scales, three ratios, inside the image."""
    generator = torch.Generator().manual_seed(5)
    features = [torch.randn(4, 8, 12, 16, generator=generator)]
    ours, theirs = make_pair(
        softmax=True,
        anchor_generator=dict(
            type='AnchorGenerator', strides=[16], scales=[1, 2, 4], ratios=[0.5, 1, 2]
        ),
        train_cfg=dict(allowed_border=0),
    )
    compare_losses(ours, theirs, features, metas, gt)
    with torch.no_grad():
        compare_proposals(
            ours.predict_by_feat(*ours(features), metas),
            theirs.predict_by_feat(*theirs(features), batch_img_metas=metas),
        )


def test_half_precision_maps(make_pair, features, metas, gt):
    """Under autocast the box arithmetic stays in float32."""
    ours, _ = make_pair()
    with torch.autocast('cpu', torch.bfloat16):
        maps = ours(features)
        assert maps[0][0].dtype == torch.bfloat16
        losses = ours.loss_by_feat(*maps, gt, metas)
        proposals = ours.predict_by_feat(*maps, metas)
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert proposals.boxes.dtype == proposals.scores.dtype == torch.float32
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in ours.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu(make_pair, features, metas, gt):
    ours, _ = make_pair()
    here = ours.loss_by_feat(*ours(features), gt, metas)
    with torch.no_grad():
        proposals = ours.predict_by_feat(*ours(features), metas)
    ours.cuda()
    ours.sampler.draws = 0
    features = [level.cuda() for level in features]
    there = ours.loss_by_feat(*ours(features), gt, metas)
    for name in here:
        torch.testing.assert_close(there[name].cpu(), here[name], rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        found = ours.predict_by_feat(*ours(features), metas)
    same = (found.mask.cpu() == proposals.mask).float().mean()
    assert same > 0.95
