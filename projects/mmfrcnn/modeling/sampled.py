"""What the heads are trained on, in figures for the log.

They stand among the losses of a head: mmengine adds up what has ``loss`` in its name,
and logs the rest. Each is one number of the device, made of tensors that are there, so
nobody waits. A mean over ground truths is NaN for a batch without any.

Shapes: N images, S anchors, P proposal slots, G ground-truth slots, K samples an image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.ops.match import match_boxes
from mmfrcnn.structures.assignment import POSITIVE, Assignment
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.sample import Sample

FOUND_IOU = 0.5
"""From this IoU on, a proposal is one of the ground truth's."""


@torch.no_grad()
def describe_anchors(
    sample: Sample, assignment: Assignment, gt: PaddedInstances
) -> dict[str, Tensor]:
    """Say what the RPN is trained on.

    Args:
        sample (Sample): The anchors that were drawn, in N x K slots.
        assignment (Assignment): Of all anchors, shape (N, S).
        gt (PaddedInstances): Ground truth, N x G slots.

    Returns:
        dict: ``rpn_positives`` and ``rpn_negatives``: samples an image; and
        ``rpn_unmatched``: the share of ground truths that no anchor is a positive of.
        Each float32, shape ().
    """
    images, slots = gt.mask.shape
    # One slot more takes what the other anchors say.
    matched = assignment.matched_idxs.masked_fill(
        assignment.match_labels != POSITIVE, slots
    )
    taken = gt.mask.new_zeros(images, slots + 1).scatter_(1, matched, True)
    unmatched = (gt.mask & ~taken[:, :slots]).sum() / gt.mask.sum()
    return dict(**_sampled(sample, 'rpn'), rpn_unmatched=unmatched)


@torch.no_grad()
def describe_proposals(
    sample: Sample, proposals: PaddedInstances, gt: PaddedInstances
) -> dict[str, Tensor]:
    """Say what a second stage is trained on, and how good its proposals are.

    Args:
        sample (Sample): The regions that were drawn, in N x K slots.
        proposals (PaddedInstances): N x P slots, without the ground truth.
        gt (PaddedInstances): Ground truth, N x G slots.

    Returns:
        dict: ``roi_positives`` and ``roi_negatives``: samples an image;
        ``proposal_iou``: the IoU of a ground truth with its best proposal, the mean;
        and ``proposals_missing``: the share of ground truths of which it is below .5.
        Each float32, shape ().
    """
    best = match_boxes(gt.boxes, proposals.boxes, proposals.mask).max_iou  # (N, G)
    count = gt.mask.sum()
    return dict(
        **_sampled(sample, 'roi'),
        proposal_iou=(best * gt.mask).sum() / count,
        proposals_missing=((best < FOUND_IOU) & gt.mask).sum() / count,
    )


def _sampled(sample: Sample, head: str) -> dict[str, Tensor]:
    """Count the samples an image."""
    images = len(sample.valid)
    positives = sample.positive.sum()
    return {
        f'{head}_positives': positives / images,
        f'{head}_negatives': (sample.valid.sum() - positives) / images,
    }
