"""nms, soft_nms and nms_match of mmcv.ops against loops over single boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, nms, nms_match, soft_nms

DEVICES = [
    'cpu',
    pytest.param(
        'cuda',
        marks=pytest.mark.skipif(
            not torch.cuda.is_available(), reason='needs a CUDA device'
        ),
    ),
]
HALF = [torch.float16, torch.bfloat16]


def random_boxes(num, seed, size=40):
    """Return crowded boxes (num, 4) with corners on a half-pixel grid, and scores."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 2 * size, (num, 4), generator=generator) / 2
    low = torch.minimum(corners[:, :2], corners[:, 2:])
    high = torch.maximum(corners[:, :2], corners[:, 2:]) + 0.5
    # A permutation: no two scores are equal, and halves tell them apart.
    scores = (torch.randperm(num, generator=generator) + 1) / 128
    return torch.cat([low, high], dim=1), scores


def iou(a, b, offset=0):
    """Return the IoU of two boxes given as four Python floats."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    inter = max(width, 0) * max(height, 0)
    area_a = (a[2] - a[0] + offset) * (a[3] - a[1] + offset)
    area_b = (b[2] - b[0] + offset) * (b[3] - b[1] + offset)
    return inter / (area_a + area_b - inter)


def brute_nms(boxes, scores, threshold, offset):
    """Keep each box that overlaps no better kept one by more than the threshold."""
    boxes, kept = boxes.tolist(), []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[i], boxes[k], offset) <= threshold for k in kept):
            kept.append(i)
    return kept


def brute_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    """Bodla et al. 2017: take the best, lower the others by their overlap with it."""
    boxes, scores, taken = boxes.tolist(), scores.tolist(), []
    left = list(range(len(boxes)))
    while left:
        best = max(left, key=lambda i: scores[i])
        left.remove(best)
        taken.append((best, scores[best]))
        for i in left:
            overlap = iou(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                scores[i] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                scores[i] *= 0 if method == 'naive' else 1 - overlap
        left = [i for i in left if scores[i] >= min_score]
    return taken


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, *HALF])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.3137, 0.6283])
def test_nms(device, dtype, offset, threshold):
    for seed in range(3):
        boxes, scores = random_boxes(100, seed)
        dets, kept = nms(
            boxes.to(device, dtype), scores.to(device, dtype), threshold, offset
        )
        assert kept.tolist() == brute_nms(boxes, scores, threshold, offset)
        assert dets.dtype == dtype
        assert dets.device.type == device
        assert torch.equal(dets[:, :4].cpu().float(), boxes[kept.cpu()])


def test_nms_offset_counts():
    """IoU .5 of boxes [0, 2) and [0, 1); .66 counted with both ends."""
    boxes = torch.tensor([[0.0, 0, 2, 9], [0, 0, 1, 9]])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.6, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.6, offset=1)[1].tolist() == [0]


def test_nms_keeps_an_overlap_equal_to_the_threshold():
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1]])
    assert len(nms(boxes, torch.tensor([0.9, 0.8]), 0.5)[1]) == 2


def test_nms_of_numpy_with_score_threshold_and_max_num():
    boxes, scores = random_boxes(100, 3)
    expected = [i for i in brute_nms(boxes, scores, 0.5, 0) if scores[i] > 0.2][:5]
    dets, kept = nms(boxes.numpy(), scores.numpy(), 0.5, score_threshold=0.2, max_num=5)
    assert isinstance(dets, np.ndarray)
    assert kept.tolist() == expected


def test_batched_nms_is_nms_within_each_class():
    boxes, scores = random_boxes(100, 4)
    classes = torch.arange(100) % 3
    _, kept = batched_nms(
        boxes, scores, classes, dict(type='nms', iou_threshold=0.4283)
    )
    expected = []
    for label in range(3):
        (index,) = torch.where(classes == label)
        of_class = brute_nms(boxes[index], scores[index], 0.4283, 0)
        expected += index[of_class].tolist()
    assert kept.tolist() == sorted(expected, key=lambda i: -scores[i])


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('min_score', [1e-3, 0.2])
def test_soft_nms(device, dtype, method, offset, min_score):
    for seed in range(3):
        boxes, scores = random_boxes(60, seed)
        options = (0.3137, 0.5, min_score, method, offset)
        dets, kept = soft_nms(
            boxes.to(device, dtype), scores.to(device, dtype), *options
        )
        expected = brute_soft_nms(boxes.double(), scores.double(), *options)
        assert kept.tolist() == [i for i, _ in expected]
        assert dets.dtype == dtype
        assert torch.equal(dets[:, :4].cpu(), boxes[kept.cpu()].to(dtype))
        lowered = torch.tensor([score for _, score in expected], dtype=dtype)
        torch.testing.assert_close(dets[:, 4].cpu(), lowered, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('dtype', HALF)
def test_soft_nms_in_half_is_that_of_float32(dtype):
    boxes, scores = (tensor.to(dtype) for tensor in random_boxes(40, 5))
    dets, kept = soft_nms(boxes, scores)
    expected, expected_kept = soft_nms(boxes.float(), scores.float())
    assert dets.dtype == dtype
    assert torch.equal(kept, expected_kept)
    assert torch.equal(dets, expected.to(dtype))


def test_soft_nms_leaves_its_inputs_alone():
    boxes, scores = random_boxes(30, 6)
    before = boxes.clone(), scores.clone()
    soft_nms(boxes, scores, method='gaussian')
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])


def test_soft_nms_takes_equal_scores_in_the_order_of_mmcvs_swaps():
    """Worked by hand from mmcv's kernel: the chosen box trades places with the first.

    Scores 1 1 2 1, boxes far apart: box 2 comes first and box 0 takes its place, so
    the order goes on with 1, 0, 3.
    """
    boxes = torch.arange(4.0)[:, None] * 10 + torch.tensor([0.0, 0, 5, 5])
    _, kept = soft_nms(boxes, torch.tensor([1.0, 1, 2, 1]))
    assert kept.tolist() == [2, 1, 0, 3]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, *HALF])
@pytest.mark.parametrize('threshold', [0.3137, 0.6283])
def test_nms_match(device, dtype, threshold):
    for seed in range(3):
        boxes, scores = random_boxes(60, seed)
        rows, expected = boxes.tolist(), []
        left = sorted(range(60), key=lambda i: -scores[i])
        while left:
            best = left[0]
            near = [i for i in left[1:] if iou(rows[best], rows[i]) >= threshold]
            expected.append([best, *near])
            left = [i for i in left[1:] if i not in near]
        dets = torch.cat([boxes, scores[:, None]], dim=1).to(device, dtype)
        groups = nms_match(dets, threshold)
        assert [group.tolist() for group in groups] == expected
        assert groups[0].device.type == device


def test_nms_match_drops_an_overlap_equal_to_the_threshold():
    dets = torch.tensor([[0.0, 0, 2, 1, 0.8], [0, 0, 1, 1, 0.9]])
    assert [group.tolist() for group in nms_match(dets, 0.5)] == [[1, 0]]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, *HALF])
def test_no_boxes(device, dtype):
    boxes = torch.zeros(0, 4, device=device, dtype=dtype)
    scores = torch.zeros(0, device=device, dtype=dtype)
    for offset in (0, 1):
        dets, kept = nms(boxes, scores, 0.5, offset)
        assert dets.shape == (0, 5)
        assert kept.tolist() == []
        dets, kept = soft_nms(boxes, scores, offset=offset)
        assert dets.shape == (0, 5)
        assert kept.tolist() == []
    assert nms_match(torch.zeros(0, 5, device=device, dtype=dtype), 0.5) == []


def test_boxes_without_area_are_kept():
    boxes = torch.tensor([[5.0, 5, 5, 5]]).repeat(3, 1)
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert nms(boxes, scores, 0.5)[1].tolist() == [0, 1, 2]
    assert soft_nms(boxes, scores)[1].tolist() == [0, 1, 2]
    assert nms(boxes, scores, 0.5, offset=1)[1].tolist() == [0]
