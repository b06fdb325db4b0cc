"""Matching by every implementation against mmdet's IoU and a search in Python."""

from __future__ import annotations

import math

import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from torch._subclasses.fake_tensor import FakeTensorMode

from mmfrcnn.ops import match
from mmfrcnn.ops.backend import using
from mmfrcnn.ops.match import cpu, match_boxes

RPN = dict(min_best_iou=0.3)


@pytest.fixture(params=['cpu', 'reference', 'cuda'])
def way(request, monkeypatch):
    """Blocks of neighbours, all pairs, and the kernel in Triton's interpreter."""
    if request.param == 'cuda':
        request.getfixturevalue('kernel_device')
    monkeypatch.setattr(match, 'FEWEST_FOR_BLOCKS', 1)
    monkeypatch.setattr(cpu, 'BLOCK', 8)
    with using(request.param):
        yield request.param


def search(priors, gt_boxes, gt_mask, excluded, min_best_iou=None, all_ties=True):
    """Image by image and ground truth by ground truth, as the definition says."""
    found = []
    for image, slots in enumerate(gt_mask):
        own = priors[0 if len(priors) == 1 else image]
        real = slots.nonzero()[:, 0].tolist()
        iou = torch.zeros(len(slots), len(own))
        iou[:, own.isnan().any(1)] = math.nan
        iou[real] = bbox_overlaps(gt_boxes[image, real], own)
        if excluded is not None:
            iou[:, excluded[image]] = -1
        best_of = [-1] * len(own)
        for slot in real if min_best_iou is not None and len(own) else ():
            row = iou[slot].tolist()
            best = math.nan if any(value != value for value in row) else max(row)
            ties = [place for place, value in enumerate(row) if value == best]
            for place in ties if all_ties else ties[:1]:
                if best >= min_best_iou:
                    best_of[place] = slot
        columns = iou.T.tolist()
        largest = [
            math.nan if any(value != value for value in column) else max(column)
            for column in columns
        ]
        first = [
            column.index(value) if value == value else -1
            for column, value in zip(columns, largest, strict=True)
        ]
        found.append((largest, first, best_of))
    return tuple(torch.tensor(column) for column in zip(*found, strict=True))


def check(priors, gt_boxes, gt_mask, excluded=None, **options):
    found = match_boxes(priors, gt_boxes, gt_mask, excluded=excluded, **options)
    options.pop('zero_decides', None)
    largest, first, best_of = search(priors, gt_boxes, gt_mask, excluded, **options)
    torch.testing.assert_close(
        found.max_iou, largest.float(), rtol=0, atol=0, equal_nan=True
    )
    assert found.nearest.dtype == torch.int32
    known = first >= 0  # the nearest of a NaN is of no meaning
    assert torch.equal(found.nearest[known].long(), first[known])
    if options.get('min_best_iou') is None:
        assert found.best_of is None
    else:
        assert found.best_of.dtype == torch.int32
        assert torch.equal(found.best_of.long(), best_of)
    return found


def scene(random_boxes, seed, *, images=2, count=140, slots=7, grid=None):
    """Priors near ground truths, anchors of all images or each image's proposals."""
    generator = torch.Generator().manual_seed(seed)
    gt_boxes = random_boxes(images * slots, generator, grid=grid)
    gt_boxes = gt_boxes.view(images, slots, 4)
    far = random_boxes(images * count, generator, grid=grid).view(images, count, 4)
    near = gt_boxes.repeat(1, count // slots + 1, 1)[:, :count]
    shift = (torch.rand(near.shape, generator=generator) * 9).round()
    priors = torch.where(shift[..., :1] > 4, far, near + (0 if grid else shift))
    gt_mask = torch.rand(images, slots, generator=generator) < 0.7
    excluded = torch.rand(images, count, generator=generator) < 0.2
    return priors, gt_boxes, gt_mask, excluded


@pytest.mark.parametrize('grid', [None, 20], ids=['plain', 'ties'])
@pytest.mark.parametrize('all_ties', [True, False])
@pytest.mark.parametrize('min_best_iou', [0.3, 0.0])
def test_every_option(random_boxes, way, grid, all_ties, min_best_iou):
    priors, gt_boxes, gt_mask, excluded = scene(random_boxes, 1, grid=grid)
    options = dict(min_best_iou=min_best_iou, all_ties=all_ties, zero_decides=True)
    found = check(priors, gt_boxes, gt_mask, excluded, **options)
    assert (found.best_of >= 0).any()


@pytest.mark.parametrize('shared', [True, False], ids=['anchors', 'proposals'])
def test_anchors_and_proposals(random_boxes, way, shared):
    """One set for all images or one each; as many as a program holds, or one off."""
    for count in (127, 128, 129):
        priors, gt_boxes, gt_mask, _ = scene(random_boxes, count, count=count)
        priors = priors[:1] if shared else priors
        check(priors, gt_boxes, gt_mask)
        check(priors, gt_boxes, gt_mask, **RPN)


def test_more_ground_truths_than_a_tile_holds(random_boxes, way):
    check(*scene(random_boxes, 2, images=1, count=20, slots=33), **RPN)


@pytest.mark.parametrize('count', [0, 1])
def test_few_priors(random_boxes, way, count):
    if way == 'cpu' and count == 0:
        pytest.skip('blocks are chosen where there are many priors')
    priors, gt_boxes, gt_mask, excluded = scene(random_boxes, 3)
    check(priors[:, :count], gt_boxes, gt_mask, excluded[:, :count], **RPN)


def test_no_ground_truth_in_an_image(random_boxes, way):
    priors, gt_boxes, gt_mask, _ = scene(random_boxes, 4)
    gt_mask[0] = False
    found = check(priors, gt_boxes, gt_mask, **RPN)
    assert (found.best_of[0] == -1).all() and (found.max_iou[0] == 0).all()


def test_everything_excluded(random_boxes, way):
    priors, gt_boxes, gt_mask, excluded = scene(random_boxes, 5)
    found = check(priors, gt_boxes, gt_mask, torch.ones_like(excluded), **RPN)
    assert (found.max_iou == -1).all() and (found.best_of == -1).all()


def test_boxes_without_area_and_inside_out(random_boxes, way):
    priors, gt_boxes, gt_mask, _ = scene(random_boxes, 6)
    priors[:, ::3, 2] = priors[:, ::3, 0]
    priors[:, 1::3] = priors[:, 1::3, [2, 3, 0, 1]]
    gt_boxes[:, 0], gt_boxes[:, 1] = 0, gt_boxes[:, 1, [2, 3, 0, 1]]
    check(priors, gt_boxes, torch.ones_like(gt_mask), **RPN)


@pytest.mark.parametrize('value', [math.nan, math.inf, 1e30])
def test_a_prior_that_is_no_box(random_boxes, way, value):
    """It is matched with nothing; its neighbours are, but nobody is a NaN's better."""
    priors, gt_boxes, gt_mask, excluded = scene(random_boxes, 7)
    priors[0, 3], priors[1, 5, 2] = value, value
    found = check(priors, gt_boxes, gt_mask, **RPN)
    assert (found.max_iou[0, 4:] > 0).any()
    excluded[:, [3, 5]] = True
    found = check(priors, gt_boxes, gt_mask, excluded, **RPN)
    assert (found.best_of >= 0).any(1).all()


def test_a_nan_far_from_everything(random_boxes, way):
    """No ground truth meets its block, and yet it is nobody's equal."""
    priors, gt_boxes, gt_mask, _ = scene(random_boxes, 14, count=260)
    priors[:, 128:] += 1000
    priors[0, 200] = math.nan
    gt_mask[0], gt_mask[1] = True, False
    found = check(priors, gt_boxes, gt_mask, **RPN)
    assert found.max_iou[0, 200].isnan() and (found.best_of[0] == -1).all()
    if way == 'cpu':
        return
    # Both reach from end to end along one axis, side by side on the other.
    priors[0, 200] = torch.tensor([1500.0, -math.inf, 1600.0, math.inf])
    gt_boxes[0, 0] = torch.tensor([0.0, -math.inf, 9.0, math.inf])
    assert check(priors, gt_boxes, gt_mask, **RPN).max_iou[0, 200].isnan()


def test_a_nan_without_a_ground_truth_by_the_kernel(random_boxes, kernel_device):
    """As by all pairs; blocks say 0, and the assigner asks neither."""
    priors, gt_boxes, gt_mask, _ = scene(random_boxes, 15)
    priors[0, 3], gt_mask[0] = math.nan, False
    with using('cuda'):
        assert check(priors, gt_boxes, gt_mask).max_iou[0].isnan().sum() == 1


def test_a_ground_truth_that_nobody_overlaps(random_boxes, way):
    """From a threshold of 0 on everybody is its best."""
    priors, gt_boxes, gt_mask, excluded = scene(random_boxes, 16)
    gt_boxes[0, 2], gt_mask[0, 2] = torch.tensor([900.0, 900, 909, 909]), True
    for all_ties in (True, False):
        options = dict(min_best_iou=0.0, all_ties=all_ties, zero_decides=True)
        found = check(priors, gt_boxes, gt_mask, excluded, **options)
        assert (found.best_of[0] == 2).any()


def test_a_ground_truth_that_is_no_box(random_boxes, way):
    """In an empty slot it is not there; in another everybody's IoU with it is NaN."""
    priors, gt_boxes, gt_mask, _ = scene(random_boxes, 8)
    gt_boxes[0, 2], gt_mask[0, 2] = math.nan, False
    gt_boxes[1, 2], gt_mask[1, 2] = math.nan, True
    found = check(priors, gt_boxes, gt_mask, **RPN)
    assert not found.max_iou[0].isnan().any() and found.max_iou[1].isnan().all()


def test_3000_ground_truths(random_boxes, way):
    """A few priors in a corner of a crowd."""
    generator = torch.Generator().manual_seed(9)
    corner = torch.rand(1, 3000, 2, generator=generator) * 4000
    corner[0, [0, 2999]] = torch.tensor([[10.0, 20.0], [30.0, 40.0]])
    gt_boxes = torch.cat([corner, corner + 40], 2)
    priors = random_boxes(20, generator)[None]
    found = check(priors, gt_boxes, torch.ones(1, 3000, dtype=torch.bool), **RPN)
    assert (found.best_of >= 0).any() and (found.nearest == 2999).any()


def test_inputs_are_left_alone(random_boxes, way):
    given = scene(random_boxes, 10)
    before = [tensor.clone() for tensor in given]
    match_boxes(given[0], given[1], given[2], excluded=given[3], **RPN)
    assert all(map(torch.equal, given, before))


def test_strided_inputs(random_boxes, way):
    priors, gt_boxes, gt_mask, excluded = scene(random_boxes, 11)
    check(priors.mT.contiguous().mT, gt_boxes[:, ::2], gt_mask[:, ::2], **RPN)
    check(priors[:, ::2], gt_boxes, gt_mask, excluded[:, ::2], **RPN)


@pytest.mark.parametrize('min_best_iou', [None, 0.3])
@pytest.mark.parametrize('fewest', [1, 1000])
def test_is_a_sound_operator(random_boxes, monkeypatch, min_best_iou, fewest):
    monkeypatch.setattr(match, 'FEWEST_FOR_BLOCKS', fewest)
    given = scene(random_boxes, 12)
    torch.library.opcheck(match._match_by_iou, (*given, min_best_iou, True, False))
    empty = given[0][:, :0], *given[1:3], given[3][:, :0]
    if fewest > 0:
        monkeypatch.setattr(match, 'FEWEST_FOR_BLOCKS', 1)
    torch.library.opcheck(match._match_by_iou, (*empty, min_best_iou, True, False))


def test_nothing_is_looked_at_on_a_fake_card():
    """Shapes are known without a value, so a graph can hold it."""
    with FakeTensorMode(), torch.device('cuda'):
        priors, gt_boxes = torch.zeros(1, 500, 4), torch.zeros(3, 9, 4)
        gt_mask = torch.zeros(3, 9, dtype=torch.bool)
        found = match_boxes(priors, gt_boxes, gt_mask, **RPN)
        assert found.max_iou.shape == found.best_of.shape == (3, 500)
        assert {one.device.type for one in found} == {'cuda'}


def test_the_kernel_trusts_itself(kernel_device):
    match._self_check(kernel_device)


def test_a_kernel_that_errs_is_seen(kernel_device, monkeypatch):
    from mmfrcnn.ops.match import cuda

    monkeypatch.setattr(
        cuda,
        'match',
        lambda *given: cuda.reference.match(
            given[0].roll(1, 1), *given[1:], match.pairwise_iou
        ),
    )
    with pytest.raises(AssertionError):
        match._self_check(kernel_device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('grid', [None, 8])
def test_cuda_equals_cpu(random_boxes, grid):
    given = scene(random_boxes, 13, images=4, count=20_000, slots=100, grid=grid)
    *given, excluded = given
    here = match_boxes(*given, excluded=excluded, **RPN)
    there = match_boxes(*(one.cuda() for one in given), excluded=excluded.cuda(), **RPN)
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one, other.cpu())
