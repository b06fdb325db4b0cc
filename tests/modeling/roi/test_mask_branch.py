"""Masks of `BatchedRoIHead` against those of mmdet's `StandardRoIHead`."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch.nn.modules.batchnorm import _BatchNorm

from mmfrcnn.errors import UserError
from mmfrcnn.ops.backend import using

from .conftest import compare_losses, config_of, padded_masks, run_losses

BACKENDS = pytest.mark.parametrize('backend', ['cpu', 'reference'])


@pytest.fixture
def masks(make_pair):
    """Return a maker of (our head, mmdet's head) with mask heads."""

    def make(mask_head=(), **changes):
        return make_pair(mask_head=dict(mask_head), **changes)

    return make


@BACKENDS
@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(mask_head=dict(class_agnostic=True)),
        dict(mask_head=dict(norm_cfg=dict(type='GN', num_groups=2))),
        dict(train_cfg=dict(mask_size=(14, 14), soft_mask_target=True)),
        dict(bbox_head=dict(reg_class_agnostic=True)),
    ],
    ids=['plain', 'agnostic', 'GN', 'soft', 'agnostic boxes'],
)
def test_losses_and_gradients_equal_mmdets(
    masks, same_sample, features, proposals, masked_samples, changes, backend
):
    pair = masks(**changes)
    batch = padded_masks(masked_samples)
    with using(backend):
        found = compare_losses(*pair, features, proposals, batch)
        assert 0.5 < found['loss_mask'] < 10
        for image in range(4):
            part = slice(image, image + 1)
            alone = [level[part] for level in features]
            compare_losses(*pair, alone, proposals[part], batch[part])


@BACKENDS
def test_losses_with_mmdets_parts_in_our_head_equal_mmdets(
    masks, first_ones, features, proposals, masked_samples, backend
):
    pair = masks(stock_parts=True)
    with using(backend):
        compare_losses(*pair, features, proposals, padded_masks(masked_samples))


@BACKENDS
def test_masks_are_padded_as_mmdets_preprocessor_pads_them(
    masks, features, proposals, masked_samples, backend
):
    ours, _ = masks()
    with using(backend):
        found, gradients = run_losses(ours, features, proposals, masked_samples)
        ours.bbox_sampler.draws = 0  # the same draw again
        batch = padded_masks(masked_samples)
        expected, others = run_losses(ours, features, proposals, batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(gradients, others, rtol=0, atol=0)


@BACKENDS
def test_a_cell_that_is_half_covered_is_inside(
    masks, same_sample, features, samples, backend
):
    """28 pixels are 14 cells of 2; the mask's edge halves a column of them."""
    pair = masks()
    sample = samples[0]
    box = torch.tensor([[20.0, 20.0, 48.0, 48.0]])
    mask = np.zeros((1, 192, 256), np.uint8)
    mask[0, :, :33] = 1
    sample.gt_instances = InstanceData(
        bboxes=box, labels=torch.tensor([2]), masks=BitmapMasks(mask, 192, 256)
    )
    features = [level[:1] for level in features]
    with using(backend):
        compare_losses(*pair, features, [InstanceData(bboxes=box)], [sample])


@BACKENDS
def test_losses_with_outlines_equal_mmdets(
    masks, same_sample, features, proposals, outlined_samples, backend
):
    pair = masks()
    with using(backend):
        found = compare_losses(*pair, features, proposals, outlined_samples)
    assert found['loss_mask'] > 0.5


@BACKENDS
@pytest.mark.parametrize('own_extractor', [True, False])
@pytest.mark.parametrize('shared_head', [None, 'TwoLayersOfTest'])
def test_what_both_heads_share(
    make_pair,
    same_sample,
    features,
    proposals,
    masked_samples,
    backend,
    own_extractor,
    shared_head,
):
    """The pooling and the layers after it, whose norms take their statistics twice."""
    shared_head = shared_head and dict(type=shared_head)
    pair = make_pair(
        mask_head=dict(), shared_head=shared_head, own_extractor=own_extractor
    )
    for head in pair:
        assert head.share_roi_extractor != own_extractor
        _plain_norms(head.train())
    with using(backend):
        compare_losses(*pair, features, proposals, padded_masks(masked_samples))
    _equal_statistics(*pair)


@BACKENDS
def test_a_norm_in_the_mask_head_sees_positives_alone(
    masks, same_sample, features, proposals, masked_samples, backend
):
    pair = masks(mask_head=dict(norm_cfg=dict(type='BN')))
    for head in pair:
        _plain_norms(head.train())
    with using(backend):
        compare_losses(*pair, features, proposals, padded_masks(masked_samples))
    _equal_statistics(*pair)


def _plain_norms(head):
    for module in head.modules():
        if isinstance(module, _BatchNorm):
            torch.nn.init.ones_(module.weight)


def _equal_statistics(ours, theirs):
    others = dict(theirs.named_buffers())
    for name, value in ours.named_buffers():
        torch.testing.assert_close(value, others[name])


def test_the_mask_head_runs_on_slots_for_positives(
    masks, features, proposals, masked_samples
):
    """A fixed number of them; on a CPU, where looking is free, on the filled ones."""
    ours, _ = masks()
    seen = []
    ours.mask_head.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    for backend in ('reference', 'cpu'):
        with using(backend):
            ours.loss(features, proposals, masked_samples)
    assert seen[0] == 4 * 8  # a quarter of 32 samples
    assert 0 < seen[1] < seen[0]


@BACKENDS
@pytest.mark.parametrize('stock_parts', [True, False])
@pytest.mark.parametrize('case', ['no objects', 'no proposals', 'neither', 'no images'])
def test_nothing_to_draw(
    masks, features, proposals, masked_samples, stock_parts, backend, case
):
    ours, _ = masks(stock_parts=stock_parts)
    batch = padded_masks(masked_samples)
    if case in ('no objects', 'neither'):
        for sample in batch:
            sample.gt_instances = sample.gt_instances[:0]
    if case in ('no proposals', 'neither'):
        proposals = [one[:0] for one in proposals]
    if case == 'no images':
        features, proposals, batch = [one[:0] for one in features], [], []
    with using(backend):
        losses, gradients = run_losses(ours, features, proposals, batch)
        results = ours.eval().predict(features, proposals, batch, rescale=True)
    assert (losses['loss_mask'] > 0) == (case == 'no proposals')  # but with objects
    for name, gradient in gradients.items():
        assert torch.isfinite(gradient).all(), name
        if 'mask_head' in name:
            assert gradient.any() == (case == 'no proposals'), name
    for sample, result in zip(batch, results, strict=True):
        assert result.masks.shape == (len(result), *sample.ori_shape)


def test_masks_that_were_not_loaded_are_asked_for(masks, features, proposals, samples):
    ours, _ = masks()
    with pytest.raises(UserError, match='with_mask=True'):
        ours.loss(features, proposals, samples)


@pytest.mark.parametrize('rescale', [False, True])
@pytest.mark.parametrize(
    'changes, least',
    [
        (dict(), 50),
        (dict(mask_head=dict(class_agnostic=True)), 50),
        (dict(test_cfg=dict(mask_thr_binary=-1)), 50),
        (dict(test_cfg=dict(mask_thr_binary=0.3, score_thr=0.25)), 1),
        (dict(test_cfg=dict(score_thr=1.0)), 0),
    ],
    ids=['plain', 'agnostic', 'shades', 'few', 'none'],
)
@torch.no_grad()
def test_masks_of_detections_equal_mmdets(
    masks, features, proposals, masked_samples, changes, least, rescale
):
    pair = masks(**changes)
    proposals[2] = proposals[2][:0]  # an image without detections
    found, expected = (
        head.eval().predict(
            tuple(features), copy.deepcopy(proposals), masked_samples, rescale=rescale
        )
        for head in pair
    )
    compare_masks(found, expected)
    assert sum(map(len, found)) >= least


def compare_masks(found, expected):
    for mine, other in zip(found, expected, strict=True):
        assert len(mine) == len(other)
        assert torch.equal(mine.labels, other.labels)
        torch.testing.assert_close(mine.scores, other.scores, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(mine.bboxes, other.bboxes, atol=1e-3, rtol=1e-5)
        assert mine.masks.dtype == other.masks.dtype
        assert mine.masks.shape == other.masks.shape
        # A pixel at the threshold may fall to either side.
        assert (mine.masks != other.masks).float().sum() <= 1e-4 * mine.masks.numel()


def test_forward_draws_masks_of_the_first_proposals(masks, features, proposals):
    ours, _ = masks()
    scores, deltas, drawn = ours(tuple(features), proposals)
    assert len(scores) == len(deltas) > 100
    assert drawn.shape == (100, 5, 14, 14)


@pytest.mark.parametrize(
    'mask_head',
    [
        dict(type='CoarseMaskHead', loss_mask=dict(type='DiceLoss')),
        dict(loss_mask=dict(type='CrossEntropyLoss', use_sigmoid=True)),
        dict(
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, class_weight=[1.0])
        ),
        dict(type='MaskHeadOfTest'),
    ],
    ids=['DiceLoss', 'use_sigmoid', 'class_weight', 'own targets'],
)
def test_mask_heads_with_their_own_way_are_refused(mask_head):
    config = config_of(mask_head=mask_head)
    config.type = 'BatchedRoIHead'
    with pytest.raises(UserError) as error:
        MODELS.build(ConfigDict(config))
    assert 'StandardRoIHead' in str(error.value)


class MaskHeadOfTest(MODELS.get('FCNMaskHead')):
    def get_targets(self, *arguments):
        raise NotImplementedError


MODELS.register_module(module=MaskHeadOfTest, force=True)


def test_half_precision(masks, features, proposals, masked_samples):
    ours, _ = masks()
    full = ours.loss(features, proposals, masked_samples)['loss_mask']
    ours.bbox_sampler.draws = 0
    with torch.autocast('cpu', torch.bfloat16):
        half = ours.loss(features, proposals, masked_samples)['loss_mask']
    assert half.dtype == torch.float32
    assert abs(half - full) < 0.05 * full


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu(masks, features, proposals, masked_samples):
    ours, _ = masks()
    here = ours.loss(features, proposals, masked_samples)['loss_mask']
    ours.cuda()
    ours.bbox_sampler.draws = 0  # the same draw again
    there = ours.loss(
        [level.cuda() for level in features],
        [one.cuda() for one in proposals],
        [sample.cuda() for sample in masked_samples],
    )['loss_mask']
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-3)
