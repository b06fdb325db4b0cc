"""`select_detections` against mmdet's `multiclass_nms`, image by image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.layers import multiclass_nms

from mmfrcnn.modeling.detections import select_detections, suppress_detections
from mmfrcnn.ops.backend import using
from mmfrcnn.ops.iou import pairwise_iou


@pytest.fixture(params=['cpu', 'reference'], autouse=True)
def _backend(request):
    """As many slots as are needed, and as many as may be."""
    with using(request.param):
        yield


def candidates(seed, images=4, proposals=60, classes=5, agnostic=False):
    generator = torch.Generator().manual_seed(seed)
    shape = (images, proposals, 1 if agnostic else classes, 2, 2)
    corners = torch.rand(shape, generator=generator).sort(dim=3).values * 60
    logits = torch.randn(images, proposals, classes + 1, generator=generator) * 2
    return corners.flatten(3), logits.softmax(-1)[..., :-1]


def expected_detections(boxes, scores, *, class_agnostic=False, **rules):
    nms = dict(type='nms', iou_threshold=rules['iou_threshold'])
    found = []
    for image_boxes, image_scores in zip(boxes, scores, strict=True):
        if class_agnostic:
            nms['class_agnostic'] = True
        found.append(
            multiclass_nms(
                image_boxes.flatten(1),
                F.pad(image_scores, (0, 1)),
                rules['score_thr'],
                nms,
                rules['max_per_img'],
            )
        )
    return found


def compare(found, expected):
    assert len(found) == len(expected)
    for mine, (detections, labels) in zip(found, expected, strict=True):
        assert torch.equal(mine.bboxes, detections[:, :4])
        assert torch.equal(mine.scores, detections[:, 4])
        assert torch.equal(mine.labels, labels)


@pytest.mark.parametrize('agnostic_boxes', [False, True])
@pytest.mark.parametrize('class_agnostic', [False, True])
@pytest.mark.parametrize('score_thr', [0.0, 0.05, 0.4])
@pytest.mark.parametrize('max_per_img', [-1, 1, 20])
def test_equals_mmdet(agnostic_boxes, class_agnostic, score_thr, max_per_img):
    boxes, scores = candidates(0, agnostic=agnostic_boxes)
    rules = dict(score_thr=score_thr, iou_threshold=0.5, max_per_img=max_per_img)
    found = select_detections(boxes, scores, class_agnostic=class_agnostic, **rules)
    expected = expected_detections(
        boxes, scores, class_agnostic=class_agnostic, **rules
    )
    compare(found, expected)
    assert all(len(one) for one in found)


@pytest.mark.parametrize('class_agnostic', [False, True])
@pytest.mark.parametrize('max_per_img', [-1, 12])
def test_ties_go_by_proposal_then_class(class_agnostic, max_per_img):
    """Against the definition: a sweep over all candidates of an image."""
    boxes, scores = candidates(7, images=2, proposals=40, classes=4)
    boxes, scores = (boxes / 20).round() * 20, (scores * 8).round() / 8
    found = select_detections(
        boxes,
        scores,
        score_thr=0.1,
        iou_threshold=0.4,
        max_per_img=max_per_img,
        class_agnostic=class_agnostic,
    )
    ties = 0
    for mine, image_boxes, image_scores in zip(found, boxes, scores, strict=True):
        flat = image_scores.flatten().tolist()
        corners = image_boxes.flatten(0, 1).double()
        overlap = pairwise_iou(corners, corners)
        order = sorted(range(len(flat)), key=lambda place: -flat[place])
        kept = []
        for place in order:
            rivals = [o for o in kept if class_agnostic or o % 4 == place % 4]
            suppressed = (overlap[place, rivals] > 0.4).any()
            if flat[place] > 0.1 and not suppressed:
                kept.append(place)
        kept = kept[:max_per_img] if max_per_img > 0 else kept
        assert mine.labels.tolist() == [place % 4 for place in kept]
        assert mine.scores.tolist() == [flat[place] for place in kept]
        assert torch.equal(mine.bboxes, image_boxes.flatten(0, 1)[kept])
        ties += len(kept) - len(mine.scores.unique())
    assert ties > 10


@pytest.mark.parametrize('equal', [1, 2, 3, 7, 19, 20, 21, 49])
def test_slots_hold_all_that_a_softmax_lets_pass(equal):
    """As many classes as can be, of equal probability, just above the threshold."""
    logits = torch.full((1, 3, 60), -200.0)
    logits[..., :equal] = 0.0
    scores = logits.softmax(-1)[..., :-1]
    boxes = torch.arange(3.0)[:, None] * 50 + torch.tensor([0.0, 0, 9, 9])
    for threshold in (1 / equal - 1e-7, 1 / equal - 1e-3, 1 / equal):
        rules = dict(score_thr=threshold, iou_threshold=0.5, max_per_img=-1)
        (found,) = select_detections(
            boxes.view(1, 3, 1, 4), scores, exclusive=True, **rules
        )
        assert len(found) == int((scores > threshold).sum())
        assert len(found) == 3 * equal or threshold == 1 / equal


def test_a_softmax_is_given_as_many_slots_as_it_may_need():
    boxes, scores = candidates(8, proposals=30, classes=12)
    rules = dict(score_thr=0.3, iou_threshold=0.5, max_per_img=-1)
    plain = select_detections(boxes, scores, **rules)
    few = select_detections(boxes, scores, exclusive=True, **rules)
    slots = few.boxes.shape[1]
    assert slots == plain.boxes.shape[1] or slots == 30 * 3 < plain.boxes.shape[1]
    compare(
        few, [(torch.cat([o.bboxes, o.scores[:, None]], 1), o.labels) for o in plain]
    )


def test_empty_slots_hold_zeros():
    boxes, scores = candidates(9)
    boxes[0, 3] = float('nan')
    found = select_detections(
        boxes, scores, score_thr=0.1, iou_threshold=0.5, max_per_img=-1
    )
    assert found.mask.any() and not found.mask.all()
    for values in (found.boxes, found.scores, found.labels):
        assert not values[~found.mask].any()
        assert torch.isfinite(values).all()


@pytest.mark.parametrize('images', [0, 3])
def test_other_suppression_comes_in_slots_too(images):
    boxes, scores = (values[:images] for values in candidates(10))
    scores[1:2] = 0.0
    nms = dict(type='soft_nms', iou_threshold=0.5)
    cfg = dict(score_thr=0.05, nms=nms, max_per_img=20)
    found = suppress_detections(boxes, scores, cfg)
    expected = [
        multiclass_nms(one.flatten(1), F.pad(other, (0, 1)), 0.05, nms, 20)
        for one, other in zip(boxes, scores, strict=True)
    ]
    compare(found, expected)
    assert found.mask.sum(1).tolist() == [len(labels) for _, labels in expected]


def test_images_may_have_none():
    boxes, scores = candidates(1)
    scores[[0, 2]] = 0.01
    scores[3, 1:] = 0.0
    rules = dict(score_thr=0.05, iou_threshold=0.5, max_per_img=10)
    found = select_detections(boxes, scores, **rules)
    compare(found, expected_detections(boxes, scores, **rules))
    assert [len(one) > 0 for one in found] == [False, True, False, True]
    none = select_detections(boxes, torch.zeros_like(scores), **rules)
    assert [one.bboxes.shape for one in none] == [(0, 4)] * 4
    assert all(one.labels.dtype == torch.int64 for one in none)


def test_scores_at_the_threshold_are_out():
    boxes = torch.tensor([[0.0, 0, 5, 5], [20, 20, 30, 30], [50, 0, 60, 9]])
    scores = torch.tensor([0.5, 0.5000001, 0.25])
    (found,) = select_detections(
        boxes.view(1, 3, 1, 4),
        scores.view(1, 3, 1),
        score_thr=0.5,
        iou_threshold=0.5,
        max_per_img=10,
    )
    assert found.bboxes.tolist() == [[20, 20, 30, 30]]


def test_empty_slots_give_nothing():
    boxes, scores = candidates(2)
    scores[:, 30:] = -1
    rules = dict(score_thr=0.0, iou_threshold=0.5, max_per_img=-1)
    found = select_detections(boxes, scores, **rules)
    compare(
        found, expected_detections(boxes[:, :30], scores[:, :30].contiguous(), **rules)
    )


def test_broken_boxes_and_scores_are_left_out():
    boxes, scores = candidates(3)
    rules = dict(score_thr=0.05, iou_threshold=0.5, max_per_img=50)
    boxes[0, :5] = float('nan')
    boxes[1, 3, 2, 1] = float('inf')
    scores[2, :7] = float('nan')
    for one in select_detections(boxes, scores, **rules):
        assert torch.isfinite(one.bboxes).all()
        assert torch.isfinite(one.scores).all()


def test_an_image_is_detected_alike_alone_and_in_a_batch():
    boxes, scores = candidates(4, images=6)
    rules = dict(score_thr=0.05, iou_threshold=0.4, max_per_img=15)
    together = select_detections(boxes, scores, **rules)
    for image in range(6):
        (alone,) = select_detections(
            boxes[image : image + 1], scores[image : image + 1], **rules
        )
        assert torch.equal(alone.bboxes, together[image].bboxes)
        assert torch.equal(alone.labels, together[image].labels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu():
    boxes, scores = candidates(5, proposals=300)
    rules = dict(score_thr=0.05, iou_threshold=0.5, max_per_img=100)
    with using('cpu'):
        here = select_detections(boxes, scores, **rules)
    there = select_detections(boxes.cuda(), scores.cuda(), **rules)
    for mine, other in zip(here, there, strict=True):
        assert torch.equal(mine.bboxes, other.bboxes.cpu())
        assert torch.equal(mine.labels, other.labels.cpu())


def test_no_proposal_slots():
    nothing = torch.zeros(2, 0, 3, 4)
    rules = dict(score_thr=0.05, iou_threshold=0.5, max_per_img=100)
    found = select_detections(nothing, nothing[..., 0], **rules)
    assert found.boxes.shape == (2, 0, 4)
    assert [len(one) for one in found] == [0, 0]
