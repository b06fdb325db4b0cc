"""Any assigner, sampler or NMS of mmdet's in the batch: they go image by image.

Shapes: N images, S priors, G ground-truth slots, K sample slots, P
proposal slots, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models import layers
from mmdet.models.task_modules import AssignResult
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmfrcnn.modeling.assigner import AnchorAssigner
from mmfrcnn.modeling.sampler import BalancedSampler
from mmfrcnn.structures.assignment import POSITIVE, Assignment
from mmfrcnn.structures.detections import Detections
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.sample import Sample

# Ids of ground truths among the candidates, beyond those of any prior.
FIRST_GT_ID = 1 << 30


def assign_batch(
    assigner: Any,
    priors: Tensor,
    gt: PaddedInstances,
    ignored: PaddedInstances,
    prior_mask: Tensor | None,
) -> Assignment:
    """Match a batch with any assigner of mmdet's interface.

    Args:
        assigner (Any): :class:`AnchorAssigner`, or a stock assigner.
        priors (Tensor): xyxy, shape (S, 4) or (N, S, 4).
        gt (PaddedInstances): Ground truth with labels, N x G slots.
        ignored (PaddedInstances): Ignored regions.
        prior_mask (Tensor | None): Priors that take part, bool, shape (N, S).

    Returns:
        Assignment: For each prior of each image.
    """
    if isinstance(assigner, AnchorAssigner):
        return assigner.assign_batch(priors, gt, ignored, prior_mask)
    images = len(gt.boxes)
    priors = priors.expand(images, -1, -1)
    shape, device = priors.shape[:2], priors.device
    match_labels = torch.full(shape, -1, dtype=torch.int8, device=device)
    matched_idxs = torch.zeros(shape, dtype=torch.int64, device=device)
    max_iou = torch.zeros(shape, device=device)
    if prior_mask is None:
        prior_mask = torch.ones(shape, dtype=torch.bool, device=device)
    for i in range(images):
        slots = gt.mask[i].nonzero()[:, 0]
        result = assigner.assign(
            InstanceData(priors=priors[i][prior_mask[i]]),
            _instances(gt, i),
            InstanceData(bboxes=ignored.boxes[i][ignored.mask[i]]),
        )
        match_labels[i, prior_mask[i]] = result.gt_inds.clamp(max=1).to(torch.int8)
        if len(slots):
            matched_idxs[i, prior_mask[i]] = slots[(result.gt_inds - 1).clamp(min=0)]
        max_iou[i, prior_mask[i]] = result.max_overlaps
    return Assignment(
        match_labels, matched_idxs.masked_fill_(match_labels != POSITIVE, 0), max_iou
    )


def sample_batch(
    sampler: Any,
    assignment: Assignment,
    keys: Tensor,
    priors: Tensor,
    gt: PaddedInstances,
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
        gt (PaddedInstances): Ground truth with labels, N x G slots.
        prior_ids (Tensor | None): A number for each prior that does not depend on
            padding, int64, shape (S,). None: its place.
        feats (Sequence[Tensor]): Feature maps, for samplers that look at them.

    Returns:
        Sample: Indices of candidates.
    """
    adds_gt = getattr(sampler, 'add_gt_as_proposals', False)
    if isinstance(sampler, BalancedSampler):
        match_labels = assignment.match_labels
        ids = prior_ids
        if ids is None:
            ids = torch.arange(match_labels.shape[1], device=match_labels.device)
        if adds_gt:
            given = gt.mask.to(match_labels.dtype) * 2 - 1  # positive, or ignored
            match_labels = torch.cat([given, match_labels], 1)
            slots = torch.arange(given.shape[1], device=match_labels.device)
            ids = torch.cat([slots + FIRST_GT_ID, ids])
        return sampler.sample_batch(match_labels, keys, ids)
    priors = priors.expand(len(gt.boxes), -1, -1)
    chosen, flags = [], []
    for i in range(len(priors)):
        seen = (assignment.match_labels[i] >= 0).nonzero()[
            :, 0
        ]  # never sample the ignored
        slots = gt.mask[i].nonzero()[:, 0]
        result = sampler.sample(
            _assign_result(assignment, gt, i, seen, slots),
            InstanceData(priors=priors[i, seen]),
            _instances(gt, i),
            feats=[level[i : i + 1] for level in feats],
        )
        candidates = seen
        if adds_gt:
            candidates = torch.cat([slots, gt.mask.shape[1] + seen])
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


def multiclass_nms(boxes: Tensor, scores: Tensor, cfg: dict[str, Any]) -> Detections:
    """Suppress with any NMS of mmdet's ``nms=dict(...)``.

    Args:
        boxes (Tensor): xyxy, shape (N, P, C, 4) or (N, P, 1, 4).
        scores (Tensor): Probabilities, shape (N, P, C).
        cfg (dict): ``score_thr``, ``nms`` and ``max_per_img``.

    Returns:
        Detections: Best first.
    """
    results = []
    for image_boxes, image_scores in zip(boxes, scores, strict=True):
        detections, labels = layers.multiclass_nms(
            image_boxes.flatten(1),
            F.pad(image_scores, (0, 1)),  # the background column it expects
            cfg['score_thr'],
            cfg['nms'],
            cfg['max_per_img'],
        )
        results.append(
            InstanceData(
                bboxes=detections[:, :4], scores=detections[:, 4], labels=labels
            )
        )
    return Detections.of(results, scores.device)


def _instances(padded: PaddedInstances, image: int) -> InstanceData:
    mask = padded.mask[image]
    labels = torch.zeros_like(mask, dtype=torch.int64)
    if padded.labels is not None:
        labels = padded.labels[image]
    return InstanceData(bboxes=padded.boxes[image][mask], labels=labels[mask])


def _assign_result(
    assignment: Assignment,
    gt: PaddedInstances,
    image: int,
    seen: Tensor,
    slots: Tensor,
) -> AssignResult:
    """One image's assignment in mmdet's form, over the priors ``seen``."""
    match_labels = assignment.match_labels[image, seen].long()
    matched_idxs = assignment.matched_idxs[image, seen]
    # Empty slots are no ground truth to mmdet: number the real ones.
    number = torch.zeros_like(gt.mask[image], dtype=torch.int64)
    number[slots] = torch.arange(len(slots), device=slots.device)
    labels = torch.full_like(match_labels, -1)
    if gt.labels is not None:
        labels = torch.where(match_labels > 0, gt.labels[image][matched_idxs], labels)
    return AssignResult(
        num_gts=len(slots),
        gt_inds=torch.where(match_labels > 0, number[matched_idxs] + 1, match_labels),
        max_overlaps=assignment.max_iou[image, seen],
        labels=labels,
    )
