"""Mask targets of a whole batch against mmdet's, image by image, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData

from mmfrcnn.errors import UserError
from mmfrcnn.modeling import mask_targets
from mmfrcnn.modeling.mask_targets import (
    ListedMasks,
    StackedMasks,
    ground_truth_masks,
)

from .conftest import random_boxes

CPU = torch.device('cpu')
SHAPES = [(60, 90, 3), (75, 40, 0), (80, 100, 5), (33, 70, 1)]  # height, width, count


@pytest.fixture
def bitmaps():
    """Rectangles (whose shares tie at a half), noise, all and nothing."""
    rng = np.random.default_rng(0)
    batch = []
    for height, width, count in SHAPES:
        masks = np.zeros((count, height, width), np.uint8)
        for place, mask in enumerate(masks):
            if place == 1:
                mask[:] = rng.random((height, width)) < 0.5
            elif place != 3:
                mask[height // 4 : height // 2, width // 3 :] = 1
            if place == 4:
                mask[:] = 1
        batch.append(BitmapMasks(masks, height, width))
    return batch


def regions_of(count=30):
    """Regions of every image, numbered, with a ground truth each."""
    generator = torch.Generator().manual_seed(1)
    rois, chosen = [], []
    for image, (height, width, number) in enumerate(SHAPES):
        boxes = random_boxes(count, (height, width), generator)
        awkward = torch.tensor(
            [
                [0, 0, width, height],
                [-20, -10, width + 30, height + 9],  # clipped
                [width / 3, height / 4, width, height / 2],  # what the mask fills
                [5, 5, 5, 5],
                [10, 10, 10.5, 30],
                [width + 5, 3, width + 9, 8],  # outside
            ]
        )
        boxes = torch.cat([boxes, boxes.round(), awkward])
        if not number:
            continue
        rois.append(torch.cat([torch.full((len(boxes), 1), float(image)), boxes], 1))
        chosen.append(torch.randint(0, number, (len(boxes),), generator=generator))
    return torch.cat(rois), torch.cat(chosen)


def mmdets(masks, rois, chosen, size, **options):
    """Return mmdet's targets, image by image in the order of the regions."""
    parts = []
    for image, one in enumerate(masks):
        own = rois[:, 0] == image
        boxes = rois[own, 1:].numpy().copy()
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, one.width)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, one.height)
        cut = one.crop_and_resize(boxes, size, inds=chosen[own].numpy(), **options)
        parts.append(torch.from_numpy(cut.to_ndarray()).float().view(-1, *size))
    return torch.cat(parts)


@pytest.mark.parametrize('at_once', [1 << 27, 3 * 80 * 100, 1])
@pytest.mark.parametrize('size', [(28, 28), (7, 12)])
def test_bitmaps_are_cut_as_mmdet_cuts_them(bitmaps, monkeypatch, size, at_once):
    monkeypatch.setattr(mask_targets, 'PIXELS_AT_ONCE', at_once)
    rois, chosen = regions_of()
    stack = StackedMasks.of(bitmaps, (1, 1), CPU)
    assert stack.masks.shape == (9, 80, 100)
    assert stack.masks.dtype == torch.uint8
    padded = [one.pad((80, 100)) for one in bitmaps]
    found = stack.cut(rois, chosen, size)
    expected = mmdets(padded, rois, chosen, size, binarize=False)
    assert torch.equal(found, expected)
    assert ((found > 0) & (found < 1)).any() and (found == 0.5).any()


def sample_of(batch_input_shape=None, **gt):
    sample = DetDataSample(gt_instances=InstanceData(**gt))
    if batch_input_shape:
        sample.set_metainfo(dict(batch_input_shape=batch_input_shape))
    return sample


def test_bitmaps_are_padded_to_the_batch(bitmaps):
    samples = [sample_of(masks=one, batch_input_shape=(96, 128)) for one in bitmaps]
    stack = ground_truth_masks(samples, CPU)
    assert stack.masks.shape == (9, 96, 128)
    for image, first in enumerate(stack.first.tolist()):
        for place, mask in enumerate(bitmaps[image].masks):
            whole = stack.masks[first + place]
            height, width = mask.shape
            assert torch.equal(whole[:height, :width], torch.from_numpy(mask))
            assert whole.sum() == mask.sum()


@pytest.mark.parametrize('kind', [bool, np.int64, np.float32])
def test_bitmaps_of_other_types(bitmaps, kind):
    rois, chosen = regions_of()
    expected = StackedMasks.of(bitmaps, (1, 1), CPU).cut(rois, chosen, (7, 7))
    for one in bitmaps:
        one.masks = one.masks.astype(kind)
    found = StackedMasks.of(bitmaps, (1, 1), CPU).cut(rois, chosen, (7, 7))
    assert torch.equal(found, expected)


def test_outlines_are_cut_as_mmdet_cuts_them():
    masks = []
    for height, width, count in SHAPES:
        outline = np.array([0, 0, width * 0.8, height * 0.1, width / 2, height * 0.9])
        masks.append(PolygonMasks([[outline]] * count, height, width))
    listed = ground_truth_masks([sample_of(masks=one) for one in masks], CPU)
    assert isinstance(listed, ListedMasks)
    rois, chosen = regions_of()
    expected = mmdets(masks, rois, chosen, (14, 14))
    assert torch.equal(listed.cut(rois, chosen, (14, 14)), expected)
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize('images', [0, 2])
def test_no_masks_at_all(images):
    none = [BitmapMasks([], 20, 30)] * images
    stack = StackedMasks.of(none, (1, 1), CPU)
    rois = torch.tensor([[0.0, 1.0, 2.0, 9.0, 9.0], [1.0, 0.0, 0.0, 5.0, 5.0]])
    chosen = torch.tensor([0, 7])
    found = stack.cut(rois[:images], chosen[:images], (7, 7))
    assert found.shape == (images, 7, 7)
    assert not found.any()


def test_missing_masks_are_asked_for():
    with pytest.raises(UserError, match='with_mask=True'):
        ground_truth_masks([sample_of(bboxes=torch.zeros(0, 4))], CPU)
