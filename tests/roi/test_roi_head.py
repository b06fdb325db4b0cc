"""`BatchedRoIHead` against mmdet's `StandardRoIHead` with equal weights and samples."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmfrcnn.errors import UserError

SIZES = [(192, 256), (150, 200), (100, 256), (192, 90)]
CLASSES = 5


def config_of(*, bbox_head=None, train_cfg=None, test_cfg=None):
    """Return mmdet's config of the second stage, small."""
    head = dict(
        type='Shared2FCBBoxHead',
        in_channels=6,
        fc_out_channels=16,
        roi_feat_size=7,
        num_classes=CLASSES,
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        reg_class_agnostic=False,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=dict(type='L1Loss'),
    )
    return ConfigDict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=6,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head={**head, **(bbox_head or {})},
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
            ),
            sampler=dict(
                type='RandomSampler',
                num=32,
                pos_fraction=0.25,
                add_gt_as_proposals=True,
            ),
            pos_weight=-1,
        )
        | (train_cfg or {}),
        test_cfg=dict(
            score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=30
        )
        | (test_cfg or {}),
    )


@pytest.fixture
def make_pair():
    """Return a maker of (our head, mmdet's head) with equal, large weights."""

    def make(**changes):
        config = config_of(**changes)
        theirs = MODELS.build(copy.deepcopy(config))
        config.type = 'BatchedRoIHead'
        ours = MODELS.build(config)
        generator = torch.Generator().manual_seed(0)
        for name, parameter in theirs.named_parameters():
            size = 0.05 if 'shared' in name else 0.5
            parameter.data.normal_(0, size, generator=generator)
        ours.load_state_dict(theirs.state_dict(), strict=True)
        return ours, theirs

    return make


@pytest.fixture
def first_ones(monkeypatch):
    """Make mmdet's random sampler take the first candidates."""
    monkeypatch.setattr(
        RandomSampler, 'random_choice', lambda self, gallery, num: gallery[:num]
    )


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(7)
    return [
        torch.randn(4, 6, 192 // s, 256 // s, generator=generator)
        for s in (4, 8, 16, 32)
    ]


def random_boxes(count, size, generator):
    corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values
    return (corners * torch.tensor([size[1], size[0]])).view(count, 4)


@pytest.fixture
def samples():
    """Four images of different sizes; the third without objects."""
    generator = torch.Generator().manual_seed(8)
    batch = []
    for place, (count, size) in enumerate(zip((6, 3, 0, 1), SIZES, strict=True)):
        boxes = random_boxes(count, size, generator)
        boxes[:, 2:] += 3
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        sample = DetDataSample(
            gt_instances=InstanceData(bboxes=boxes, labels=labels),
            metainfo=dict(
                img_id=place,
                img_shape=size,
                ori_shape=(size[0] // 2, size[1] // 2),
                scale_factor=(2.0, 1.5 + place),
            ),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64)
        )
        batch.append(sample)
    return batch


@pytest.fixture
def proposals(samples):
    """Return proposals near and far from the ground truth, as many as it happens."""
    generator = torch.Generator().manual_seed(9)
    batch = []
    for sample, size, count in zip(samples, SIZES, (50, 12, 30, 3), strict=True):
        near = sample.gt_instances.bboxes.repeat(3, 1)
        near = near + torch.rand(near.shape, generator=generator) * 4
        boxes = torch.cat([near, random_boxes(count, size, generator)])
        boxes = boxes[torch.randperm(len(boxes), generator=generator)]
        scores = torch.rand(len(boxes), generator=generator)
        labels = torch.zeros(len(boxes), dtype=torch.int64)
        batch.append(InstanceData(bboxes=boxes, scores=scores, labels=labels))
    return batch


def run_losses(head, features, proposals, samples):
    head.zero_grad()
    features = [level.clone().requires_grad_() for level in features]
    losses = head.loss(tuple(features), copy.deepcopy(proposals), samples)
    (losses['loss_cls'] + losses['loss_bbox']).backward()
    gradients = {name: p.grad for name, p in head.named_parameters()}
    gradients |= {f'features {i}': level.grad for i, level in enumerate(features)}
    return losses, gradients


def compare_losses(ours, theirs, *batch):
    found, ours_grad = run_losses(ours, *batch)
    expected, theirs_grad = run_losses(theirs, *batch)
    assert set(found) == set(expected) == {'loss_cls', 'loss_bbox', 'acc'}
    for name in found:
        wanted = expected[name].view(found[name].shape)
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-7)
    for name, gradient in ours_grad.items():
        wanted = theirs_grad[name]
        wanted = torch.zeros_like(gradient) if wanted is None else wanted
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5, msg=name)
    return found


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
    ids=['plain', 'pos_weight', 'agnostic', 'giou', 'iou', 'smooth', 'no truth added'],
)
def test_losses_and_gradients_equal_mmdets(
    make_pair, first_ones, features, proposals, samples, changes
):
    pair = make_pair(**changes)
    found = compare_losses(*pair, features, proposals, samples)
    assert found['loss_bbox'] > 0
    for image in range(4):
        part = slice(image, image + 1)
        alone = [level[part] for level in features]
        compare_losses(*pair, alone, proposals[part], samples[part])


@pytest.mark.parametrize('norm', ['BN', 'GN'])
def test_a_norm_sees_no_empty_slots(
    make_pair, first_ones, features, proposals, samples, norm
):
    """Losses, gradients and running statistics, where most slots are empty."""
    config = dict(type=norm) if norm == 'BN' else dict(type=norm, num_groups=2)
    ours, theirs = make_pair(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead', conv_out_channels=6, norm_cfg=config
        ),
        train_cfg=dict(
            sampler=dict(
                type='RandomSampler',
                num=128,
                pos_fraction=0.25,
                add_gt_as_proposals=True,
            )
        ),
    )
    for head in (ours, theirs):
        for module in head.modules():
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.GroupNorm):
                torch.nn.init.ones_(module.weight)
    compare_losses(ours.train(), theirs.train(), features, proposals, samples)
    statistics = dict(theirs.named_buffers())
    assert bool(statistics) == (norm == 'BN')
    for name, value in ours.named_buffers():
        torch.testing.assert_close(value, statistics[name])


def test_losses_with_ignored_regions_equal_mmdets(
    make_pair, first_ones, features, proposals, samples
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


def empty(count=0):
    return InstanceData(
        bboxes=torch.zeros(count, 4),
        scores=torch.zeros(count),
        labels=torch.zeros(count, dtype=torch.int64),
    )


BALANCED = dict(
    train_cfg=dict(
        assigner=dict(
            type='AnchorAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.5,
            match_low_quality=False,
        ),
        sampler=dict(type='BalancedSampler', num=32, pos_fraction=0.25),
    )
)


@pytest.mark.parametrize('changes', [{}, BALANCED], ids=['stock parts', 'ours'])
def test_no_proposals_at_all(make_pair, features, samples, changes):
    ours, _ = make_pair(**changes)
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


@pytest.mark.parametrize('changes', [{}, BALANCED], ids=['stock parts', 'ours'])
def test_ground_truth_but_no_proposals(make_pair, features, samples, changes):
    ours, _ = make_pair(**changes)
    nothing = [empty() for _ in samples]
    losses, gradients = run_losses(ours, features, nothing, samples)
    assert losses['loss_cls'] > 0
    assert losses['loss_bbox'] >= 0
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())


@pytest.mark.parametrize('changes', [{}, BALANCED], ids=['stock parts', 'ours'])
def test_proposals_but_no_ground_truth(
    make_pair, features, proposals, samples, changes
):
    ours, _ = make_pair(**changes)
    for sample in samples:
        sample.gt_instances = sample.gt_instances[:0]
    losses, gradients = run_losses(ours, features, proposals, samples)
    assert losses['loss_cls'] > 0
    assert losses['loss_bbox'] == 0
    assert not gradients['bbox_head.fc_reg.weight'].any()
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())


def test_samples_without_ignored_instances(make_pair, features, proposals, samples):
    ours, _ = make_pair(**BALANCED)
    for sample in samples:
        del sample.ignored_instances
    losses, _ = run_losses(ours, features, proposals, samples)
    assert torch.isfinite(losses['loss_cls'])


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


def test_a_mask_head_is_no_argument():
    config = config_of()
    config.type = 'BatchedRoIHead'
    config.mask_head = ConfigDict(type='FCNMaskHead')
    with pytest.raises(TypeError, match='mask_head'):
        MODELS.build(config)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu(make_pair, first_ones, features, proposals, samples):
    ours, _ = make_pair()
    here, _ = run_losses(ours, features, proposals, samples)
    ours.cuda()
    there, _ = run_losses(
        ours,
        [level.cuda() for level in features],
        [one.cuda() for one in proposals],
        [sample.cuda() for sample in samples],
    )
    for name in here:
        torch.testing.assert_close(there[name].cpu(), here[name], rtol=1e-4, atol=1e-4)
