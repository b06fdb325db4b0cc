"""Feature pyramids and regions; heads, ours and mmdet's, and batches for them."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)

# isort: split
import copy

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmfrcnn.modeling import box_training
from tests.modeling.matching.equal_samples import follow_our_sampler

STRIDES = (4, 8, 16, 32)
HEIGHT, WIDTH, CHANNELS, IMAGES = 192, 256, 6, 3
# Of the four images of a batch that heads are run on, and the classes in them.
SIZES = [(192, 256), (150, 200), (100, 256), (192, 90)]
CLASSES = 5


MASK_HEAD = dict(
    type='FCNMaskHead',
    num_convs=1,
    in_channels=6,
    conv_out_channels=6,
    num_classes=CLASSES,
    loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.5),
)


class TwoLayers(torch.nn.Sequential):
    """Layers between pooling and box head, with batch norm, as the res5 of C4."""

    def __init__(self):
        super().__init__(torch.nn.Conv2d(6, 6, 1), torch.nn.BatchNorm2d(6))


MODELS.register_module(module=TwoLayers, name='TwoLayersOfTest', force=True)


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


def config_of(
    *,
    bbox_head=None,
    mask_head=None,
    own_extractor=True,
    shared_head=None,
    train_cfg=None,
    test_cfg=None,
):
    """Return mmdet's config of the second stage, small; masks where they are asked."""
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
    extractor = dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
        out_channels=6,
        featmap_strides=[4, 8, 16, 32],
    )
    masks = {}
    if mask_head is not None:
        masks['mask_head'] = MASK_HEAD | mask_head
        masks['mask_roi_extractor'] = extractor if own_extractor else None
    return ConfigDict(
        type='StandardRoIHead',
        bbox_roi_extractor=extractor,
        bbox_head={**head, **(bbox_head or {})},
        shared_head=shared_head,
        **masks,
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
            mask_size=14,
        )
        | (train_cfg or {}),
        test_cfg=dict(
            score_thr=0.05,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=30,
            mask_thr_binary=0.5,
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
        share_weights(ours, theirs)
        return ours, theirs

    return make


def share_weights(ours, theirs):
    """Give both heads the same random weights, by name."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in theirs.named_parameters():
        size = 0.05 if 'shared' in name else 0.5
        parameter.data.normal_(0, size, generator=generator)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)


@pytest.fixture
def same_sample(monkeypatch):
    """Make mmdet's random sampler take what ours has drawn in the head before it."""
    to_draw = follow_our_sampler(monkeypatch, box_training)
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
def masked_samples(samples):
    """Return the same images with bitmaps of blobs, as large as their image."""
    rng = np.random.default_rng(10)
    for sample, (height, width) in zip(samples, SIZES, strict=True):
        boxes = sample.gt_instances.bboxes.round().int().tolist()
        masks = np.zeros((len(boxes), height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            blob = rng.random((max(y2 - y1, 1), max(x2 - x1, 1))) < 0.6
            inside = mask[y1:y2, x1:x2]
            inside[:] = cv2.medianBlur(blob.astype(np.uint8), 5)[: len(inside)][
                :, : inside.shape[1]
            ]
        sample.gt_instances.masks = BitmapMasks(masks, height, width)
        wide, tall = sample.scale_factor
        original = (round(height / tall), round(width / wide))
        sample.set_metainfo(dict(batch_input_shape=(192, 256), ori_shape=original))
    return samples


@pytest.fixture
def outlined_samples(samples):
    """Return the same images with outlines: a triangle, or one and another."""
    for sample, (height, width) in zip(samples, SIZES, strict=True):
        outlines = []
        for place, box in enumerate(sample.gt_instances.bboxes.numpy()):
            x1, y1, x2, y2 = box
            parts = [np.array([x1, y1, x2, y1, x1, y2])]
            if place % 2:
                parts.append(np.array([x1, y1, x1, y2, (x1 + x2) / 2, y2]))
            outlines.append(parts)
        sample.gt_instances.masks = PolygonMasks(outlines, height, width)
    return samples


def padded_masks(samples):
    """Return the same samples with masks as mmdet's preprocessor pads them."""
    samples = copy.deepcopy(samples)
    for sample in samples:
        masks = sample.gt_instances.masks
        sample.gt_instances.masks = masks.pad(sample.batch_input_shape)
    return samples


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
    sum(value.sum() for name, value in losses.items() if 'loss' in name).backward()
    gradients = {name: p.grad for name, p in head.named_parameters()}
    gradients |= {f'features {i}': level.grad for i, level in enumerate(features)}
    # mmdet's heads give the accuracy, too, and ours more figures for the log.
    losses = {k: v for k, v in losses.items() if 'loss' in k or 'acc' in k}
    return losses, gradients


def compare_losses(ours, theirs, *batch):
    found, ours_grad = run_losses(ours, *batch)
    expected, theirs_grad = run_losses(theirs, *batch)
    assert set(found) == set(expected)
    for name in found:
        wanted = expected[name].view(found[name].shape)
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-7)
    for name, gradient in ours_grad.items():
        wanted = theirs_grad[name]
        wanted = torch.zeros_like(gradient) if wanted is None else wanted
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5, msg=name)
    return found
