"""Stock assigners and samplers in the batched steps, and ours beside them."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.models.task_modules.samplers import RandomSampler
from mmengine.structures import InstanceData

from mmfrcnn.modeling.assigner import AnchorAssigner
from mmfrcnn.modeling.per_image import assign_batch, sample_batch
from mmfrcnn.modeling.sampler import BalancedSampler
from mmfrcnn.structures.assignment import Assignment
from mmfrcnn.structures.image_batch import ImageBatch
from mmfrcnn.structures.padded_instances import PaddedInstances, pad_instances

CPU = torch.device('cpu')
RPN = dict(pos_iou_thr=0.6, neg_iou_thr=0.3, min_pos_iou=0.3, ignore_iof_thr=0.5)


def without_area(boxes):
    flat = boxes.clone()
    flat[1::3, 2] = flat[1::3, 0]
    return flat


@pytest.fixture
def batch(random_boxes):
    """Priors (S, 4), ground truth and ignored regions of five images, and a mask."""
    generator = torch.Generator().manual_seed(0)
    counts = [4, 0, 9, 1, 3]
    gt, ignored = [], []
    for image, count in enumerate(counts):
        boxes = random_boxes(count, generator)
        if image == 2:
            boxes = without_area(boxes)
        labels = torch.arange(count) + 10 * image
        gt.append(InstanceData(bboxes=boxes, labels=labels))
        regions = random_boxes(image % 3, generator)
        ignored.append(InstanceData(bboxes=regions))
    priors = random_boxes(120, generator)
    priors[:9] = gt[2].bboxes + 2
    priors[9:13] = gt[0].bboxes - 2
    mask = torch.rand(5, 120, generator=generator) < 0.7
    return priors, pad_instances(gt, CPU), pad_instances(ignored, CPU), mask


@pytest.mark.parametrize('masked', [False, True])
def test_stock_assigner_gives_what_ours_gives(batch, masked):
    priors, gt, ignored, mask = batch
    mask = mask if masked else None
    ours = assign_batch(AnchorAssigner(**RPN), priors, gt, ignored, mask)
    stock = assign_batch(MaxIoUAssigner(**RPN), priors, gt, ignored, mask)
    assert torch.equal(ours.match_labels, stock.match_labels)
    assert torch.equal(ours.matched_idxs, stock.matched_idxs)
    seen = (
        torch.ones_like(ours.match_labels, dtype=torch.bool) if mask is None else mask
    )
    assert torch.equal(ours.max_iou[seen], stock.max_iou[seen])
    assert (ours.match_labels == 1).any()
    assert (ours.match_labels == -1).any()


@pytest.mark.parametrize('adds_gt', [False, True])
@pytest.mark.parametrize('kind', [RandomSampler, BalancedSampler])
def test_samplers_over_a_batch(batch, kind, adds_gt):
    priors, gt, ignored, mask = batch
    assignment = assign_batch(AnchorAssigner(**RPN), priors, gt, ignored, mask)
    sampler = kind(num=40, pos_fraction=0.25, add_gt_as_proposals=adds_gt)
    keys = ImageBatch([dict(img_id=i) for i in range(5)], CPU).keys
    sample = sample_batch(sampler, assignment, keys, priors, gt)
    match_labels = assignment.match_labels.long()
    if adds_gt:
        match_labels = torch.cat([gt.mask.long() * 2 - 1, match_labels], 1)
    drawn = match_labels.gather(1, sample.indices)
    assert (drawn[sample.positive] == 1).all()
    assert (drawn[sample.valid & ~sample.positive] == 0).all()
    positives = (match_labels == 1).sum(1).clamp(max=10)
    assert torch.equal(sample.positive.sum(1), positives)
    negatives = torch.minimum((match_labels == 0).sum(1), 40 - positives)
    assert torch.equal(sample.valid.sum(1), positives + negatives)
    for image in range(5):
        chosen = sample.indices[image, sample.valid[image]]
        assert len(chosen.unique()) == len(chosen)


def test_added_truth_is_the_same_candidate_in_any_batch(batch):
    """The draw does not depend on how many slots the largest image needs."""
    priors, gt, ignored, _ = batch
    assigner, metas = AnchorAssigner(**RPN), [dict(img_id=i) for i in range(5)]
    sampler = BalancedSampler(40, 0.1, add_gt_as_proposals=True, seed=0)

    def draw(images):
        def pick(padded):
            slots = max(1, int(padded.mask[images].sum(1).max()))
            return type(padded)(
                padded.boxes[images, :slots],
                padded.mask[images, :slots],
                None if padded.labels is None else padded.labels[images, :slots],
            )

        part = pick(gt)
        assignment = assign_batch(assigner, priors, part, pick(ignored), None)
        keys = ImageBatch([metas[i] for i in images], CPU).keys
        sampler.draws = 0  # the same draw for both
        sample = sample_batch(sampler, assignment, keys, priors, part)
        shift = part.mask.shape[1]
        index = sample.indices - shift  # negative: ground truth, counted from its end
        index = torch.where(index < 0, index + shift - 1000, index)
        return [index[i, sample.valid[i]] for i in range(len(images))]

    whole = draw([0, 1, 2, 3, 4])
    for image, part in zip([3, 0], draw([3, 0]), strict=True):
        assert torch.equal(whole[image], part)


def test_ground_truths_and_proposals_are_drawn_independently():
    """The n-th ground truth and the n-th proposal share no random key."""
    count, drawn = 400, 200
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).expand(1, count, 4)
    gt = PaddedInstances(boxes, torch.ones(1, count, dtype=torch.bool))
    positive = torch.ones(1, count, dtype=torch.int8)
    nearest = torch.zeros(1, count, dtype=torch.int64)
    assignment = Assignment(positive, nearest, torch.ones(1, count))
    sampler = BalancedSampler(drawn, 1.0, add_gt_as_proposals=True, seed=0)
    keys = ImageBatch([dict(img_id=1)], CPU).keys
    sample = sample_batch(sampler, assignment, keys, boxes, gt)
    chosen = torch.zeros(2 * count, dtype=torch.bool)
    chosen[sample.indices[0]] = True
    both = int((chosen[:count] & chosen[count:]).sum())
    # A quarter is drawn of either: of 400 pairs 25 wholly, 100 if keys were shared.
    assert 10 < both < 45
