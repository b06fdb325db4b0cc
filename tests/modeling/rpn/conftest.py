"""RPN heads, ours and mmdet's, with equal weights on the same feature maps."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)

# isort: split
import copy

import pytest
import torch
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmfrcnn.modeling import rpn_training
from tests.modeling.matching.equal_samples import follow_our_sampler

STRIDES = (4, 8, 16, 32, 64)
CHANNELS = 8
# (img_shape, pad_shape): one batch of 192 x 256.
SIZES = [
    ((190, 250), (192, 256)),
    ((100, 256), (128, 256)),
    ((192, 60), (192, 64)),
    ((33, 47), (64, 64)),
]


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope('mmdet')


def head_config(*, softmax=False, **changes):
    """Return mmdet's RPN config, with proposals and samples few enough to be tested."""
    config = dict(
        type='RPNHead',
        in_channels=CHANNELS,
        feat_channels=CHANNELS,
        anchor_generator=dict(
            type='AnchorGenerator',
            scales=[8],
            ratios=[0.5, 1.0, 2.0],
            strides=list(STRIDES),
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=not softmax),
        loss_bbox=dict(type='L1Loss'),
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type='RandomSampler',
                num=64,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            allowed_border=-1,
            pos_weight=-1,
        ),
        test_cfg=dict(
            nms_pre=200,
            max_per_img=100,
            nms=dict(type='nms', iou_threshold=0.7),
            min_bbox_size=0,
        ),
    )
    for key, change in changes.items():
        if isinstance(change, dict) and isinstance(config.get(key), dict):
            config[key] = {**config[key], **change}
        else:
            config[key] = change
    return ConfigDict(config)


@pytest.fixture
def make_pair():
    """Return a maker of (our head, mmdet's head) with equal, large weights.

    Each has its own assigner and sampler; ours has mmdet's where it is asked for.
    """

    def make(*, stock_parts=False, **changes):
        config = head_config(**changes)
        theirs = MODELS.build(copy.deepcopy(config))
        config.type = 'RegionProposalHead'
        if not stock_parts:
            config.train_cfg.assigner.type = 'AnchorAssigner'
            config.train_cfg.sampler.type = 'BalancedSampler'
        ours = MODELS.build(config)
        generator = torch.Generator().manual_seed(0)
        for name, parameter in theirs.named_parameters():
            size = 0.05 if 'reg' in name else 0.3
            parameter.data.normal_(0, size, generator=generator)
        ours.load_state_dict(theirs.state_dict(), strict=True)
        return ours, theirs

    return make


@pytest.fixture
def first_ones(monkeypatch):
    """Make mmdet's random sampler, in both heads, take the first candidates."""
    monkeypatch.setattr(
        RandomSampler, 'random_choice', lambda self, gallery, num: gallery[:num]
    )


@pytest.fixture
def same_sample(monkeypatch):
    """Make mmdet's random sampler take what ours has drawn in the head before it."""
    to_draw = follow_our_sampler(monkeypatch, rpn_training)
    yield
    assert not to_draw


@pytest.fixture
def metas():
    """Meta information of four images of different sizes in one batch."""
    return [
        dict(
            img_id=place,
            img_shape=size,
            pad_shape=padded,
            batch_input_shape=(192, 256),
            ori_shape=(size[0] // 2, size[1] // 2),
            scale_factor=(2.0, 1.9 + 0.1 * place),
        )
        for place, (size, padded) in enumerate(SIZES)
    ]


@pytest.fixture
def features():
    """Five feature maps of the four images."""
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randn(
            len(SIZES), CHANNELS, 192 // stride, 256 // stride, generator=generator
        )
        for stride in STRIDES
    ]


@pytest.fixture
def gt():
    """Ground truth of the four images, the third without any."""
    generator = torch.Generator().manual_seed(4)
    batch = []
    for count, (size, _) in zip((5, 3, 0, 1), SIZES, strict=True):
        corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values
        boxes = (corners * torch.tensor([size[1], size[0]])).view(count, 4)
        boxes[:, 2:] += 4
        labels = torch.zeros(count, dtype=torch.int64)
        batch.append(InstanceData(bboxes=boxes, labels=labels))
    return batch
