"""Feature pyramids and regions; heads, ours and mmdet's, and batches for them."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)

# isort: split
import copy

import pytest
import torch
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmfrcnn.modeling import roi_head as our_head
from tests.modeling.matching.equal_samples import follow_our_sampler

STRIDES = (4, 8, 16, 32)
HEIGHT, WIDTH, CHANNELS, IMAGES = 192, 256, 6, 3
# Of the four images of a batch that heads are run on, and the classes in them.
SIZES = [(192, 256), (150, 200), (100, 256), (192, 90)]
CLASSES = 5


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope('mmdet')


@pytest.fixture
def pyramid():
    """Four random feature maps of three images."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(
            IMAGES, CHANNELS, HEIGHT // stride, WIDTH // stride, generator=generator
        )
        for stride in STRIDES
    ]


def regions(*boxes, image=0):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    return torch.cat([torch.full((len(boxes), 1), float(image)), boxes], 1)


@pytest.fixture
def rois():
    """Plain regions of every size, and awkward ones, shape (K, 5)."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(80, 2, 2, generator=generator).sort(dim=1).values
    boxes = (corners * torch.tensor([WIDTH, HEIGHT])).view(80, 4)
    image = torch.randint(0, IMAGES, (80, 1), generator=generator).float()
    awkward = regions(
        [0, 0, WIDTH, HEIGHT],  # everything
        [10, 10, 10, 10],  # a point
        [10, 10, 11, 11],  # one pixel
        [20, 30, 20, 90],  # no width
        [5, 40, 250, 41],  # very long
        [-30, -20, 15, 12],  # across the border
        [WIDTH - 5, HEIGHT - 5, WIDTH + 90, HEIGHT + 70],
        [-90, -90, -40, -40],  # outside
        [WIDTH + 10, 0, WIDTH + 90, 60],
        [-300, -300, 600, 500],  # larger than the image
        [0, 0, 112, 112],  # the sizes where the level changes
        [0, 0, 111.99, 112],
        [0, 0, 224, 224],
        [0, 0, 448, 448],
        [0, 0, 447.9, 447.9],
        image=1,
    )
    return torch.cat([torch.cat([image, boxes], 1), awkward])


def config_of(*, bbox_head=None, shared_head=None, train_cfg=None, test_cfg=None):
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
        shared_head=shared_head,
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
    """Return a maker of (our head, mmdet's head) with equal, large weights.

    Each has its own assigner and sampler; ours has mmdet's where it is asked for.
    """

    def make(*, stock_parts=False, **changes):
        config = config_of(**changes)
        theirs = MODELS.build(copy.deepcopy(config))
        config.type = 'BatchedRoIHead'
        if not stock_parts:
            config.train_cfg.assigner.type = 'AnchorAssigner'
            config.train_cfg.sampler.type = 'BalancedSampler'
        ours = MODELS.build(config)
        generator = torch.Generator().manual_seed(0)
        for name, parameter in theirs.named_parameters():
            size = 0.05 if 'shared' in name else 0.5
            parameter.data.normal_(0, size, generator=generator)
        ours.load_state_dict(theirs.state_dict(), strict=True)
        return ours, theirs

    return make


@pytest.fixture
def same_sample(monkeypatch):
    """Make mmdet's random sampler take what ours has drawn in the head before it."""
    to_draw = follow_our_sampler(monkeypatch, our_head)
    yield
    assert not to_draw


@pytest.fixture
def first_ones(monkeypatch):
    """Make mmdet's random sampler, in both heads, take the first candidates."""
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
