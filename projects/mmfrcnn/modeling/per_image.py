"""The same two steps for any assigner and sampler: mmdet's go image by image.

Shapes: N images, S priors, G ground-truth slots, K sample slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.task_modules import AssignResult
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmfrcnn.modeling.assigner import AnchorAssigner
from mmfrcnn.modeling.sampler import BalancedSampler
from mmfrcnn.structures.assignment import POSITIVE, Assignment
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.sample import Sample

# Ids of ground truths among the candidates, beyond those of any prior.
FIRST_TRUTH_ID = 1 << 30


def assign_batch(
    assigner: Any,
    priors: Tensor,
    truth: PaddedInstances,
    ignored: PaddedInstances,
    prior_mask: Tensor | None,
) -> Assignment:
    """Match a batch with any assigner of mmdet's interface.

    Args:
        assigner (Any): :class:`AnchorAssigner`, or a stock assigner.
        priors (Tensor): xyxy, shape (S, 4) or (N, S, 4).
        truth (PaddedInstances): Ground truth with labels, N x G slots.
        ignored (PaddedInstances): Ignored regions.
        prior_mask (Tensor | None): Priors that take part, bool, shape (N, S).

    Returns:
        Assignment: For each prior of each image.
    """
    if isinstance(assigner, AnchorAssigner):
        return assigner.assign_batch(priors, truth, ignored, prior_mask)
    images = len(truth.boxes)
    priors = priors.expand(images, -1, -1)
    shape, device = priors.shape[:2], priors.device
    states = torch.full(shape, -1, dtype=torch.int8, device=device)
    matched = torch.zeros(shape, dtype=torch.int64, device=device)
    max_iou = torch.zeros(shape, device=device)
    if prior_mask is None:
        prior_mask = torch.ones(shape, dtype=torch.bool, device=device)
    for i in range(images):
        slots = truth.mask[i].nonzero()[:, 0]
        result = assigner.assign(
            InstanceData(priors=priors[i][prior_mask[i]]),
            _instances(truth, i),
            InstanceData(bboxes=ignored.boxes[i][ignored.mask[i]]),
        )
        states[i, prior_mask[i]] = result.gt_inds.clamp(max=1).to(torch.int8)
        if len(slots):
            matched[i, prior_mask[i]] = slots[(result.gt_inds - 1).clamp(min=0)]
        max_iou[i, prior_mask[i]] = result.max_overlaps
    return Assignment(states, matched.masked_fill_(states != POSITIVE, 0), max_iou)


def sample_batch(
    sampler: Any,
    assignment: Assignment,
    keys: Tensor,
    priors: Tensor,
    truth: PaddedInstances,
    *,
    prior_ids: Tensor | None = None,
    feats: Sequence[Tensor] = (),
) -> Sample:
    """Sample a batch with any sampler of mmdet's interface.

    The candidates are the priors or, where the sampler adds ground truth, the G slots
    of ground truth followed by the priors.

    Args:
        sampler (Any): :class:`BalancedSampler`, or a stock sampler.
        assignment (Assignment): Of the priors.
        keys (Tensor): A number for each image, shape (N,).
        priors (Tensor): xyxy, shape (S, 4) or (N, S, 4).
        truth (PaddedInstances): Ground truth with labels, N x G slots.
        prior_ids (Tensor | None): A number for each prior that does not depend on
            padding, int64, shape (S,). None: its place.
        feats (Sequence[Tensor]): Feature maps, for samplers that look at them.

    Returns:
        Sample: Indices of candidates.
    """
    adds_truth = getattr(sampler, 'add_gt_as_proposals', False)
    if isinstance(sampler, BalancedSampler):
        states = assignment.states
        ids = prior_ids
        if ids is None:
            ids = torch.arange(states.shape[1], device=states.device)
        if adds_truth:
            given = truth.mask.to(states.dtype) * 2 - 1  # positive, or ignored
            states = torch.cat([given, states], 1)
            slots = torch.arange(given.shape[1], device=states.device)
            ids = torch.cat([slots + FIRST_TRUTH_ID, ids])
        return sampler.sample_batch(states, keys, ids)
    priors = priors.expand(len(truth.boxes), -1, -1)
    chosen, flags = [], []
    for i in range(len(priors)):
        seen = (assignment.states[i] >= 0).nonzero()[:, 0]  # never sample the ignored
        slots = truth.mask[i].nonzero()[:, 0]
        result = sampler.sample(
            _assign_result(assignment, truth, i, seen, slots),
            InstanceData(priors=priors[i, seen]),
            _instances(truth, i),
            feats=[level[i : i + 1] for level in feats],
        )
        candidates = seen
        if adds_truth:
            candidates = torch.cat([slots, truth.mask.shape[1] + seen])
        chosen.append(candidates[torch.cat([result.pos_inds, result.neg_inds])])
        flag = torch.ones_like(chosen[-1])
        flag[: len(result.pos_inds)] = 2
        flags.append(flag)
    # One slot at least, so that no later step needs a case for "none".
    empty = [torch.zeros(1, dtype=torch.int64, device=priors.device)]
    indices, flag = (
        pad_sequence(rows + empty, batch_first=True)[:-1] for rows in (chosen, flags)
    )
    return Sample(indices, flag == 2, flag > 0)


def _instances(padded: PaddedInstances, image: int) -> InstanceData:
    mask = padded.mask[image]
    labels = torch.zeros_like(mask, dtype=torch.int64)
    if padded.labels is not None:
        labels = padded.labels[image]
    return InstanceData(bboxes=padded.boxes[image][mask], labels=labels[mask])


def _assign_result(
    assignment: Assignment,
    truth: PaddedInstances,
    image: int,
    seen: Tensor,
    slots: Tensor,
) -> AssignResult:
    """One image's assignment in mmdet's form, over the priors ``seen``."""
    states = assignment.states[image, seen].long()
    matched = assignment.matched[image, seen]
    # Empty slots are no ground truth to mmdet: number the real ones.
    number = torch.zeros_like(truth.mask[image], dtype=torch.int64)
    number[slots] = torch.arange(len(slots), device=slots.device)
    labels = torch.full_like(states, -1)
    if truth.labels is not None:
        labels = torch.where(states > 0, truth.labels[image][matched], labels)
    return AssignResult(
        num_gts=len(slots),
        gt_inds=torch.where(states > 0, number[matched] + 1, states),
        max_overlaps=assignment.max_iou[image, seen],
        labels=labels,
    )
