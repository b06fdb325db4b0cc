"""`select_detections` against mmdet's `multiclass_nms`, image by image."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.layers import multiclass_nms

from mmfrcnn.modeling.detections import select_detections


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
                torch.nn.functional.pad(image_scores, (0, 1)),
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
    here = select_detections(boxes, scores, **rules)
    there = select_detections(boxes.cuda(), scores.cuda(), **rules)
    for mine, other in zip(here, there, strict=True):
        assert torch.equal(mine.bboxes, other.bboxes.cpu())
        assert torch.equal(mine.labels, other.labels.cpu())
