"""`BatchedDataPreprocessor` against mmdet's, and where it takes its place."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)

# isort: split
import copy

import numpy as np
import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmfrcnn_benchmark.fake_device import DEVICE, fake_device

from mmfrcnn.modeling.data_preprocessor import BatchedDataPreprocessor

NORMALISE = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
SIZES = [(37, 50), (64, 33), (20, 64)]


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope('mmdet')


def batch_of(sizes=SIZES, channels=3, *, boxes=HorizontalBoxes):
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for height, width in sizes:
        image = torch.rand(channels, height, width, generator=generator) * 255
        inputs.append(image.byte())
        gt = InstanceData(
            bboxes=boxes(torch.tensor([[1.0, 2.0, 9.0, 8.0]])),
            labels=torch.tensor([3]),
            masks=BitmapMasks(np.ones((1, height, width), np.uint8), height, width),
        )
        sample = DetDataSample(
            gt_instances=gt, metainfo=dict(img_shape=(height, width))
        )
        seg = torch.ones(1, height, width, dtype=torch.uint8)
        sample.gt_sem_seg = PixelData(sem_seg=seg)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def both(options, batch, training=True):
    theirs = DetDataPreprocessor(**options)
    ours = BatchedDataPreprocessor.of(DetDataPreprocessor(**options))
    assert type(ours) is BatchedDataPreprocessor
    return [one(copy.deepcopy(batch), training) for one in (ours, theirs)]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(bgr_to_rgb=True, **NORMALISE),
        dict(rgb_to_bgr=True, pad_size_divisor=32, pad_value=7),
        dict(pad_size_divisor=32, pad_mask=True, pad_seg=True, **NORMALISE),
        dict(boxtype2tensor=False, mean=[3.0], std=[2.0]),
    ],
)
def test_equals_mmdets_to_the_bit(options, training):
    ours, theirs = both(options, batch_of(), training)
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert ours['inputs'].dtype == torch.float32
    for mine, other in zip(ours['data_samples'], theirs['data_samples'], strict=True):
        assert mine.metainfo == other.metainfo
        gt, expected = mine.gt_instances, other.gt_instances
        assert type(gt.bboxes) is type(expected.bboxes)
        mine_boxes, other_boxes = (
            getattr(one.bboxes, 'tensor', one.bboxes) for one in (gt, expected)
        )
        assert torch.equal(mine_boxes, other_boxes)
        assert torch.equal(gt.labels, expected.labels)
        assert np.array_equal(gt.masks.masks, expected.masks.masks)
        assert torch.equal(mine.gt_sem_seg.sem_seg, other.gt_sem_seg.sem_seg)


def test_other_inputs():
    stacked = dict(inputs=torch.rand(2, 3, 20, 33) * 255, data_samples=None)
    gray = batch_of([(9, 7)], channels=1)
    for batch, options in (
        (stacked, dict(bgr_to_rgb=True, pad_size_divisor=16, **NORMALISE)),
        (gray, dict(mean=[3.0], std=[2.0])),
    ):
        ours, theirs = both(options, batch)
        assert torch.equal(ours['inputs'], theirs['inputs'])
    assert ours['inputs'].shape == (1, 1, 9, 7)


def test_the_callers_samples_stay_as_they_are():
    batch = batch_of()
    ours = BatchedDataPreprocessor.of(DetDataPreprocessor(pad_mask=True))
    for _ in range(2):
        ours(batch, True)
    for sample, size in zip(batch['data_samples'], SIZES, strict=True):
        assert 'pad_shape' not in sample
        assert isinstance(sample.gt_instances.bboxes, HorizontalBoxes)
        assert sample.gt_instances.masks.masks.shape[1:] == size


def test_augments_a_batch_in_training():
    options = dict(
        batch_augments=[
            dict(type='BatchFixedSizePad', size=(96, 80), pad_mask=True, pad_seg=False)
        ],
    )
    ours, theirs = both(options, batch_of(), training=True)
    assert ours['inputs'].shape == (3, 3, 96, 80)
    assert torch.equal(ours['inputs'], theirs['inputs'])


def test_images_go_over_without_a_wait_and_the_ground_truth_stays():
    options = dict(bgr_to_rgb=True, non_blocking=True, **NORMALISE)
    ours = BatchedDataPreprocessor.of(DetDataPreprocessor(**options))
    theirs = DetDataPreprocessor(**options)
    with fake_device():
        for one in (ours, theirs):
            one.to(DEVICE)
    waits = []
    for one in (ours, theirs):
        batch = batch_of(boxes=torch.Tensor)
        with fake_device() as counted:
            batch['inputs'] = [image.pin_memory() for image in batch['inputs']]
            found = one(batch, True)
        assert found['inputs'].device == DEVICE
        waits.append(counted.waits.total())
    # mmdet's: two tensors of ground truth and the segmentation, and indices.
    assert waits == [0, 4 * 3]
    assert counted.copies == 5 * 3


@pytest.mark.parametrize('stock', [None, 'rpn_head', 'roi_head', 'data_preprocessor'])
def test_where_it_stands_in(stock, repo_root):
    """A head of mmdet's expects the ground truth on the device."""
    path = repo_root / 'configs/_base_/models/faster-rcnn_r50_fpn.py'
    config = Config.fromfile(path).model
    config.backbone.update(depth=18, base_channels=8, init_cfg=None)
    config.neck.in_channels = [8, 16, 32, 64]
    if stock == 'rpn_head':
        config.rpn_head.type = 'RPNHead'
    if stock == 'roi_head':
        config.roi_head.type = 'StandardRoIHead'
    if stock == 'data_preprocessor':

        class Own(DetDataPreprocessor):
            pass

        config.data_preprocessor = Own(**NORMALISE)
    kind = type(MODELS.build(config).data_preprocessor)
    expected = {None: 'BatchedDataPreprocessor', 'data_preprocessor': 'Own'}
    assert kind.__name__ == expected.get(stock, 'DetDataPreprocessor')
