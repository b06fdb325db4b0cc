"""`AnchorAssigner` against mmdet's `MaxIoUAssigner`: equal, to the last bit."""

from __future__ import annotations

import itertools

import pytest
import torch
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData

from mmfrcnn.modeling.assigner import AnchorAssigner
from mmfrcnn.ops import match
from mmfrcnn.ops.backend import using
from mmfrcnn.ops.match import cpu, reference
from mmfrcnn.structures.assignment import IGNORED
from mmfrcnn.structures.padded_instances import PaddedInstances, pad_instances

# What the RPN and the second stage use, then each argument's other values.
THRESHOLDS = (
    dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False),
    dict(pos_iou_thr=0.5, neg_iou_thr=(0.1, 0.4), min_pos_iou=0.0),
    dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.0, gt_max_assign_all=False),
    dict(pos_iou_thr=0.6, neg_iou_thr=0.4, min_pos_iou=0.2, gt_max_assign_all=False),
    dict(pos_iou_thr=0.7, neg_iou_thr=0.3, match_low_quality=False),
)
IGNORING = (
    dict(),
    dict(ignore_iof_thr=0.5),
    dict(ignore_iof_thr=0.5, ignore_wrt_candidates=False),
    dict(ignore_iof_thr=1e-6),
)
SETTINGS = [a | b for a, b in itertools.product(THRESHOLDS, IGNORING)]


@pytest.fixture(
    params=SETTINGS, ids=lambda setting: '-'.join(map(str, setting.values()))
)
def setting(request):
    return request.param


@pytest.fixture(params=['chunked', 'whole', 'blocks'])
def way(request, monkeypatch):
    """All pairs in small steps, in one step, or only those of neighbours."""
    if request.param == 'chunked':
        monkeypatch.setattr(reference, 'PAIRS_PER_CHUNK', 7)
    if request.param == 'blocks':
        monkeypatch.setattr(match, 'FEWEST_FOR_BLOCKS', 1)
        monkeypatch.setattr(cpu, 'BLOCK', 8)


def cases(random_boxes):
    """(name, priors, ground truths, ignored regions) of one image each."""
    generator = torch.Generator().manual_seed(0)

    def boxes(count, **kwargs):
        return random_boxes(count, generator, **kwargs)

    none = torch.zeros(0, 4)
    gt = boxes(6)
    jitter = torch.rand(40, 4, generator=generator) * 8
    near = gt.repeat(7, 1)[:40] + jitter
    yield 'random', boxes(60), gt, boxes(3)
    yield 'near', torch.cat([near, boxes(30)]), gt, boxes(2)
    yield 'gridded', boxes(80, grid=25), boxes(9, grid=25), boxes(3, grid=25)
    yield 'coarse', boxes(50, grid=50), boxes(9, grid=50), boxes(2, grid=50)
    yield 'duplicates', near, gt[[0, 0, 1, 1, 1, 2, 0]], gt[[3, 3]]
    yield 'itself', gt, gt, none
    flat = gt.clone()
    flat[::2, 2] = flat[::2, 0]
    yield 'without area', torch.cat([flat, boxes(20)]), flat, flat[:2]
    yield 'points', torch.zeros(5, 4), torch.zeros(3, 4), torch.zeros(2, 4)
    yield 'no gt', boxes(30), none, none
    yield 'no gt, ignored', boxes(30), none, boxes(2)
    yield 'no priors', none, gt, boxes(2)
    yield 'nothing', none, none, none
    everything = torch.tensor([[-1e3, -1e3, 1e3, 1e3]])
    yield 'all ignored', near, gt, everything
    yield 'far away', boxes(20) + 1000, gt, none
    yield 'one pixel', boxes(50), torch.tensor([[5.0, 5.0, 6.0, 6.0]]), none
    yield 'one prior', near[:1], gt, none


def with_labels(boxes):
    return InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) % 4 + 10)


def compare(ours, mmdets):
    assert ours.num_gts == mmdets.num_gts
    assert torch.equal(ours.gt_inds, mmdets.gt_inds)
    assert torch.equal(ours.max_overlaps, mmdets.max_overlaps)
    assert torch.equal(ours.labels, mmdets.labels)


def test_one_image(random_boxes, setting, way):
    ours, mmdets = AnchorAssigner(**setting), MaxIoUAssigner(**setting)
    for _, priors, gt, ignored in cases(random_boxes):
        arguments = (
            InstanceData(priors=priors),
            with_labels(gt),
            InstanceData(bboxes=ignored),
        )
        compare(ours.assign(*arguments), mmdets.assign(*arguments))


def padded(list_of_boxes):
    """Boxes of several images in slots; those without area keep their places."""
    slots = max(1, *map(len, list_of_boxes))
    boxes = torch.zeros(len(list_of_boxes), slots, 4)
    mask = torch.zeros(len(list_of_boxes), slots, dtype=torch.bool)
    for image, one in enumerate(list_of_boxes):
        boxes[image, : len(one)] = one
        mask[image, : len(one)] = True
    return PaddedInstances(boxes, mask)


def expected_states(result):
    return result.gt_inds.clamp(max=1), (result.gt_inds - 1).clamp(min=0)


@pytest.mark.parametrize('shared', [True, False], ids=['anchors', 'proposals'])
def test_batch(random_boxes, setting, way, shared):
    compare_batch(random_boxes, setting, shared)


@pytest.mark.parametrize('number', range(len(THRESHOLDS)))
def test_batch_by_the_kernel(random_boxes, number):
    """In Triton's interpreter, where there is no card."""
    pytest.importorskip('triton', reason='Triton is not installed')
    with using('cuda'):
        compare_batch(random_boxes, THRESHOLDS[number] | IGNORING[1], number % 2 == 0)


def compare_batch(random_boxes, setting, shared):
    generator = torch.Generator().manual_seed(1)
    images = [case[2:] for case in cases(random_boxes) if len(case[1])]
    count = 45
    per_image = [random_boxes(count, generator, grid=10) for _ in images]
    for priors, (gt, _) in zip(per_image, images, strict=True):
        near = gt.repeat(8, 1)[:20]
        priors[: len(near)] = near + torch.rand(len(near), 4, generator=generator) * 5
    priors = per_image[1] if shared else torch.stack(per_image)
    mask = torch.rand(len(images), count, generator=generator) < 0.8
    mask[-1] = False
    mask[0] = True
    ours, mmdets = AnchorAssigner(**setting), MaxIoUAssigner(**setting)

    gts, ignored = (padded(side) for side in zip(*images, strict=True))
    result = ours.assign_batch(priors, gts, ignored, mask)
    assert result.match_labels.dtype == torch.int8
    for image, (gt, regions) in enumerate(images):
        mine = mask[image]
        theirs = mmdets.assign(
            InstanceData(priors=(priors if shared else priors[image])[mine]),
            with_labels(gt),
            InstanceData(bboxes=regions),
        )
        match_labels, matched_idxs = expected_states(theirs)
        assert torch.equal(result.match_labels[image, mine].long(), match_labels)
        assert torch.equal(result.matched_idxs[image, mine], matched_idxs)
        assert torch.equal(result.max_iou[image, mine], theirs.max_overlaps)
        assert (result.match_labels[image, ~mine] == IGNORED).all()
        assert (result.matched_idxs[image, ~mine] == 0).all()


def test_real_anchors(random_boxes):
    """Enough of them for blocks, in the order of a feature pyramid's."""
    grid = TASK_UTILS.build(
        dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8])
    )
    anchors = torch.cat(grid.grid_priors([(60, 80), (30, 40)], device='cpu'))
    assert len(anchors) > match.FEWEST_FOR_BLOCKS
    setting = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3)
    generator = torch.Generator().manual_seed(0)
    gts = with_labels(random_boxes(40, generator, extent=320.0))
    compare(
        AnchorAssigner(**setting).assign(InstanceData(priors=anchors), gts),
        MaxIoUAssigner(**setting).assign(InstanceData(priors=anchors), gts),
    )


def test_boxes_without_area_are_not_there(random_boxes, setting):
    """They are masked out of a batch: as if mmdet had not been given them."""
    generator = torch.Generator().manual_seed(2)
    priors, gt = random_boxes(80, generator), random_boxes(7, generator)
    priors[:7] = gt + 1
    gt[[0, 3, 6], 2] = gt[[0, 3, 6], 0]
    real = [1, 2, 4, 5]
    batch = pad_instances([with_labels(gt)], torch.device('cpu'))
    result = AnchorAssigner(**setting).assign_batch(priors, batch)
    theirs = MaxIoUAssigner(**setting).assign(
        InstanceData(priors=priors), with_labels(gt[real])
    )
    match_labels, matched_idxs = expected_states(theirs)
    assert torch.equal(result.match_labels[0].long(), match_labels)
    matched_idxs = torch.where(match_labels > 0, torch.tensor(real)[matched_idxs], 0)
    assert torch.equal(result.matched_idxs[0], matched_idxs)


def test_literal_boxes():
    """Worked by hand: IoU 0.8, 0.5, 0.2 and 0 with the only ground truth."""
    gt = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    priors = torch.tensor(
        [
            [0.0, 0.0, 10.0, 8.0],
            [0.0, 0.0, 10.0, 5.0],
            [0.0, 0.0, 10.0, 2.0],
            [50.0, 50.0, 60.0, 60.0],
        ]
    )
    result = AnchorAssigner(0.7, 0.3, 0.3).assign_batch(priors, padded([gt]))
    assert result.match_labels.tolist() == [[1, -1, 0, 0]]
    torch.testing.assert_close(result.max_iou, torch.tensor([[0.8, 0.5, 0.2, 0.0]]))
    # Alone, the second best prior is the best of its ground truth.
    result = AnchorAssigner(0.7, 0.3, 0.3).assign_batch(priors[1:], padded([gt]))
    assert result.match_labels.tolist() == [[1, 0, 0]]
    result = AnchorAssigner(0.7, 0.3, 0.6).assign_batch(priors[1:], padded([gt]))
    assert result.match_labels.tolist() == [[-1, 0, 0]]


def test_no_ignored_regions_given(random_boxes):
    generator = torch.Generator().manual_seed(3)
    priors, gt = random_boxes(50, generator), with_labels(random_boxes(4, generator))
    ours = AnchorAssigner(0.7, 0.3, 0.3, ignore_iof_thr=0.5)
    mmdets = MaxIoUAssigner(0.7, 0.3, 0.3, ignore_iof_thr=0.5)
    given = (InstanceData(priors=priors), gt)
    compare(ours.assign(*given), mmdets.assign(*given))
    compare(ours.assign(*given, None), mmdets.assign(*given, None))


def test_another_iou_calculator(random_boxes):
    """A half-precision calculator is asked, not passed over."""
    generator = torch.Generator().manual_seed(4)
    calculator = dict(type='BboxOverlaps2D', scale=10.0, dtype='fp16')
    given = dict(pos_iou_thr=0.6, neg_iou_thr=0.3, ignore_iof_thr=0.5)
    ours = TASK_UTILS.build(
        dict(type='AnchorAssigner', iou_calculator=calculator, **given)
    )
    mmdets = TASK_UTILS.build(
        dict(type='MaxIoUAssigner', iou_calculator=calculator, **given)
    )
    arguments = (
        InstanceData(priors=random_boxes(60, generator)),
        with_labels(random_boxes(5, generator)),
        InstanceData(bboxes=random_boxes(2, generator)),
    )
    compare(ours.assign(*arguments), mmdets.assign(*arguments))


def test_repeated_ground_truths_are_shifted_apart(random_boxes):
    generator = torch.Generator().manual_seed(5)
    gt = random_boxes(3, generator).repeat(3, 1)
    given = dict(
        pos_iou_thr=0.7,
        neg_iou_thr=0.3,
        perm_repeat_gt_cfg=dict(iou_thr=0.7, perm_range=0.01),
    )
    arguments = InstanceData(priors=random_boxes(60, generator)), with_labels(gt)
    torch.manual_seed(0)
    ours = AnchorAssigner(**given).assign(*arguments)
    torch.manual_seed(0)
    compare(ours, MaxIoUAssigner(**given).assign(*arguments))


def test_thresholds_that_move(random_boxes):
    """Dynamic R-CNN sets them while training."""
    generator = torch.Generator().manual_seed(1)
    gt = random_boxes(6, generator)
    priors = gt.repeat(10, 1) + torch.rand(60, 4, generator=generator) * 30
    arguments = dict(pos_iou_thr=0.4, neg_iou_thr=0.4, match_low_quality=False)
    ours, theirs = AnchorAssigner(**arguments), MaxIoUAssigner(**arguments)
    boxes = InstanceData(bboxes=gt, labels=torch.zeros(6, dtype=torch.int64))
    found = []
    for threshold in (0.4, 0.7):
        for one in (ours, theirs):
            one.pos_iou_thr = one.neg_iou_thr = one.min_pos_iou = threshold
            found.append(one.assign(InstanceData(priors=priors), boxes).gt_inds)
    assert torch.equal(found[0], found[1]) and torch.equal(found[2], found[3])
    assert (found[2] > 0).sum() < (found[0] > 0).sum()
    assert not (found[2] < 0).any()


def test_gpu_assign_thr_is_accepted_without_effect(random_boxes):
    generator = torch.Generator().manual_seed(6)
    arguments = (
        InstanceData(priors=random_boxes(30, generator)),
        with_labels(random_boxes(4, generator)),
    )
    limited = AnchorAssigner(0.7, 0.3, gpu_assign_thr=1).assign(*arguments)
    compare(limited, MaxIoUAssigner(0.7, 0.3).assign(*arguments))


def test_no_gradient_flows_into_targets(random_boxes):
    generator = torch.Generator().manual_seed(7)
    priors = random_boxes(20, generator).requires_grad_()
    gt = padded([random_boxes(3, generator)])
    assert not AnchorAssigner(0.7, 0.3).assign_batch(priors, gt).max_iou.requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu(random_boxes, setting):
    generator = torch.Generator().manual_seed(8)
    priors = random_boxes(500, generator, grid=5)
    gts = padded([random_boxes(n, generator, grid=5) for n in (20, 0, 3)])
    ignored = padded([random_boxes(n, generator, grid=5) for n in (1, 2, 0)])
    ours = AnchorAssigner(**setting)
    here = ours.assign_batch(priors, gts, ignored)
    there = ours.assign_batch(
        priors.cuda(),
        *(PaddedInstances(x.boxes.cuda(), x.mask.cuda()) for x in (gts, ignored)),
    )
    assert torch.equal(here.match_labels, there.match_labels.cpu())
    assert torch.equal(here.matched_idxs, there.matched_idxs.cpu())
    assert torch.equal(here.max_iou, there.max_iou.cpu())
