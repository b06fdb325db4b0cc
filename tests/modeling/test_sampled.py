"""What the heads tell the log of their samples, by hand and by brute force."""

from __future__ import annotations

import math

import pytest
import torch

from mmfrcnn.modeling.sampled import describe_anchors, describe_proposals
from mmfrcnn.structures.assignment import Assignment
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.sample import Sample


def sample_of(positive, valid):
    positive, valid = (torch.tensor(one, dtype=torch.bool) for one in (positive, valid))
    return Sample(torch.zeros(positive.shape, dtype=torch.int64), positive, valid)


# Two images of four slots: two positives and one negative, one positive and no other.
SAMPLE = sample_of([[1, 1, 0, 0], [1, 0, 0, 0]], [[1, 1, 1, 0], [1, 0, 0, 0]])


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inside = max(width, 0) * max(height, 0)
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return inside / (sum(areas) - inside)


def ground_truth(*counts):
    """Return as many boxes in each image as counted, of whatever place."""
    mask = torch.arange(max(*counts, 1)) < torch.tensor(counts)[:, None]
    return PaddedInstances(mask[..., None] * torch.tensor([0.0, 0, 9, 9]), mask)


def test_a_ground_truth_without_an_anchor_is_unmatched():
    """Of five, three: the first image's second, and both of the other's last."""
    labels = torch.tensor([[1, 1, 0, -1, 0], [1, 0, -1, 0, 0]], dtype=torch.int8)
    matched = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    assignment = Assignment(labels, matched, torch.zeros(2, 5))
    found = describe_anchors(SAMPLE, assignment, ground_truth(2, 3))
    assert found.keys() == {'rpn_positives', 'rpn_negatives', 'rpn_unmatched'}
    assert float(found['rpn_positives']) == 1.5
    assert float(found['rpn_negatives']) == 0.5
    assert float(found['rpn_unmatched']) == pytest.approx(3 / 5)
    # What is no positive has 0 for its ground truth, and takes none.
    labels[labels > 0] = 0
    found = describe_anchors(SAMPLE, assignment, ground_truth(2, 3))
    assert float(found['rpn_unmatched']) == 1


def test_matched_anchors_are_counted_as_one_by_one():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, 2, (3, 40), generator=generator).to(torch.int8)
    matched = torch.randint(0, 30, (3, 40), generator=generator)
    gt = ground_truth(30, 17, 0)
    matched %= gt.mask.sum(1, keepdim=True).clamp(min=1)
    matched[labels < 1] = 0
    found = describe_anchors(
        SAMPLE, Assignment(labels, matched, torch.zeros(3, 40)), gt
    )
    pairs = {
        (image, int(matched[image, anchor]))
        for image in range(2)
        for anchor in range(40)
        if labels[image, anchor] == 1
    }
    assert 10 < len(pairs) < 40
    assert float(found['rpn_unmatched']) == pytest.approx(1 - len(pairs) / 47)


def test_proposals_are_compared_as_pair_by_pair():
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(2, 37, 4, generator=generator) * 40
    boxes[..., 2:] += boxes[..., :2] + 2
    gt = PaddedInstances(boxes[:, :7], torch.arange(7) < torch.tensor([[7], [4]]))
    mask = torch.rand(2, 30, generator=generator) < 0.6
    proposals = PaddedInstances(boxes[:, 7:], mask)
    found = describe_proposals(SAMPLE, proposals, gt)
    best = [
        max(
            iou(box.tolist(), other.tolist())
            for other in proposals.boxes[image][proposals.mask[image]]
        )
        for image in range(2)
        for box in gt.boxes[image][gt.mask[image]]
    ]
    assert len(best) == 11
    missing = sum(one < 0.5 for one in best) / 11
    assert 0 < missing < 1
    assert float(found['proposal_iou']) == pytest.approx(sum(best) / 11, rel=1e-5)
    assert float(found['proposals_missing']) == pytest.approx(missing)
    assert float(found['roi_positives']) == 1.5
    assert float(found['roi_negatives']) == 0.5


def test_an_iou_of_half_is_found():
    gt = PaddedInstances.of(torch.tensor([[[0.0, 0, 8, 8], [20, 20, 28, 28]]]))
    close = torch.tensor([[[0.0, 0, 8, 4], [20, 20, 28, 23]]])  # .5 and .375
    found = describe_proposals(SAMPLE, PaddedInstances.of(close), gt)
    assert float(found['proposal_iou']) == (0.5 + 0.375) / 2
    assert float(found['proposals_missing']) == 0.5


def test_without_proposals_all_is_missing():
    nothing = PaddedInstances(torch.zeros(2, 5, 4), torch.zeros(2, 5, dtype=torch.bool))
    found = describe_proposals(SAMPLE, nothing, ground_truth(2, 1))
    assert float(found['proposal_iou']) == 0
    assert float(found['proposals_missing']) == 1


def test_without_ground_truth_there_is_no_mean_of_any():
    gt = ground_truth(0, 0)
    anchors = Assignment(
        torch.zeros(2, 3, dtype=torch.int8), torch.zeros(2, 3).long(), torch.zeros(2, 3)
    )
    found = describe_anchors(SAMPLE, anchors, gt)
    found |= describe_proposals(SAMPLE, ground_truth(3, 1), gt)
    for name in ('rpn_unmatched', 'proposal_iou', 'proposals_missing'):
        assert math.isnan(found[name])
    for name, positives in (('rpn_positives', 1.5), ('roi_positives', 1.5)):
        assert float(found[name]) == positives
    assert {one.dtype for one in found.values()} == {torch.float32}
    assert not any('loss' in name for name in found)
