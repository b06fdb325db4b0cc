"""Assignment of anchors (or proposals) to ground truth by IoU.

Shapes: N images, S priors (anchors or proposals), G ground-truth slots, I slots of
ignored regions. No step holds all pairs, so memory is O(S + G) whatever their product.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmdet.models.task_modules import AssignResult, BaseAssigner
from mmdet.models.task_modules.assigners.iou2d_calculator import BboxOverlaps2D
from mmdet.models.task_modules.assigners.max_iou_assigner import perm_repeat_bboxes
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.ops.iou import pairwise_iou
from mmfrcnn.ops.match import match_boxes
from mmfrcnn.ops.match.reference import chunks
from mmfrcnn.structures.assignment import IGNORED, NEGATIVE, POSITIVE, Assignment
from mmfrcnn.structures.padded_instances import PaddedInstances


@TASK_UTILS.register_module()
class AnchorAssigner(BaseAssigner):
    """Match priors with ground truth by IoU: a whole batch, exactly, in little memory.

    A prior is positive if its IoU with some ground truth reaches ``pos_iou_thr``, or if
    it is the best prior of some ground truth (ties included); negative if its IoU with
    all is below ``neg_iou_thr``; else ignored (Ren et al. 2015, section 3.1.2).

    Takes the arguments of mmdet's ``MaxIoUAssigner`` and gives its results, to the bit.

    Args:
        pos_iou_thr (float): Positive from this IoU on.
        neg_iou_thr (float | tuple[float, float]): Negative below this IoU, or within
            this half-open range.
        min_pos_iou (float): The best prior of a ground truth is positive only from this
            IoU on.
        gt_max_assign_all (bool): All priors that tie for the best of a ground truth
            become positive, else the first.
        ignore_iof_thr (float): Ignore priors covered by an ignored region by more than
            this fraction; not positive: no prior is ignored for that.
        ignore_wrt_candidates (bool): The fraction is of the prior's area, else of the
            region's.
        match_low_quality (bool): Whether the best prior of each ground truth is made
            positive at all. For the RPN, not for the second stage.
        gpu_assign_thr (float): Accepted for compatibility, without effect: memory is
            bounded, so nothing has to move to the CPU.
        iou_calculator (dict): Config of the IoU calculator.
        perm_repeat_gt_cfg (dict | None): Shift repeated ground truths apart at random,
            as in mmdet (goes image by image).
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
        match_low_quality: bool = True,
        gpu_assign_thr: float = -1,
        iou_calculator: dict | None = None,
        perm_repeat_gt_cfg: dict | None = None,
    ) -> None:
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr  # Dynamic R-CNN moves the thresholds
        self.min_pos_iou = min_pos_iou
        self.gt_max_assign_all = gt_max_assign_all
        self.ignore_iof_thr = ignore_iof_thr
        self.ignore_wrt_candidates = ignore_wrt_candidates
        self.match_low_quality = match_low_quality
        self.gpu_assign_thr = gpu_assign_thr
        self.iou_calculator = TASK_UTILS.build(
            iou_calculator or dict(type='BboxOverlaps2D')
        )
        self.perm_repeat_gt_cfg = perm_repeat_gt_cfg

    @torch.no_grad()
    def assign_batch(
        self,
        priors: Tensor,
        gt: PaddedInstances,
        ignored: PaddedInstances | None = None,
        prior_mask: Tensor | None = None,
    ) -> Assignment:
        """Match the priors of every image of a batch.

        Args:
            priors (Tensor): xyxy, float32, shape (S, 4), the same for all images, or
                (N, S, 4).
            gt (PaddedInstances): Ground truth, in N x G slots.
            ignored (PaddedInstances | None): Ignored regions, in N x I slots.
            prior_mask (Tensor | None): Priors that take part, bool, shape (N, S); the
                others are ignored and nobody's best. None: all do.

        Returns:
            Assignment: For each prior of each image.
        """
        if priors.dim() == 2:
            priors = priors[None]
        gt = self._shift_repeated(gt)
        iou, iof = self._overlap_functions()
        excluded = self._covered_by_ignored(priors, ignored, iof)
        outside = None if prior_mask is None else ~prior_mask
        if outside is not None:
            excluded = outside if excluded is None else excluded | outside

        max_iou, nearest, best_of = match_boxes(
            priors,
            gt.boxes,
            gt.mask,
            excluded=excluded,
            min_best_iou=self.min_pos_iou if self.match_low_quality else None,
            all_ties=self.gt_max_assign_all,
            zero_decides=self.pos_iou_thr <= 0,
            overlap=iou,
        )

        low, high = self._negative_range()
        match_labels = torch.full_like(max_iou, IGNORED, dtype=torch.int8)
        match_labels.masked_fill_((max_iou >= low) & (max_iou < high), NEGATIVE)
        positive = max_iou >= self.pos_iou_thr
        if best_of is not None:
            # A later step overrides an earlier one, as a later ground truth does: the
            # last ground truth that a prior is the best of takes it.
            is_best = best_of >= 0
            nearest = torch.where(is_best, best_of, nearest)
            positive |= is_best
        match_labels.masked_fill_(positive, POSITIVE)

        # Where there is no ground truth all is background, as in mmdet, even the priors
        # in ignored regions.
        nothing_there = ~gt.mask.any(-1, keepdim=True)  # (N, 1)
        match_labels.masked_fill_(nothing_there, NEGATIVE)
        max_iou.masked_fill_(nothing_there, 0)
        if outside is not None:
            match_labels.masked_fill_(outside, IGNORED)
        nearest = nearest.masked_fill(match_labels != POSITIVE, 0)
        return Assignment(match_labels, nearest.long(), max_iou)

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        feats: list[Tensor] | None = None,
        img_meta: dict | None = None,
    ) -> AssignResult:
        """Match the priors of one image: mmdet's interface.

        Args:
            pred_instances (InstanceData): With ``priors``, xyxy, shape (S, 4).
            gt_instances (InstanceData): With ``bboxes`` (g, 4) and ``labels`` (g,).
            gt_instances_ignore (InstanceData | None): With ``bboxes``.
            feats (list[Tensor] | None): Unused, some of mmdet's heads pass it.
            img_meta (dict | None): Unused, likewise.

        Returns:
            AssignResult: ``gt_inds`` is -1 ignored, 0 negative, k ground truth k - 1.
        """
        priors, labels = pred_instances.priors, gt_instances.labels
        result = self.assign_batch(
            priors,
            _one_image(gt_instances.bboxes),
            None
            if gt_instances_ignore is None
            else _one_image(gt_instances_ignore.bboxes),
        )
        match_labels, matched_idxs = (
            result.match_labels[0].long(),
            result.matched_idxs[0],
        )
        positive = match_labels == POSITIVE
        classes = torch.full_like(matched_idxs, -1)
        if len(labels):
            classes = torch.where(positive, labels.long()[matched_idxs], classes)
        return AssignResult(
            num_gts=len(labels),
            gt_inds=torch.where(positive, matched_idxs + 1, match_labels),
            max_overlaps=result.max_iou[0],
            labels=classes,
        )

    def _negative_range(self) -> tuple[float, float]:
        if isinstance(self.neg_iou_thr, (tuple, list)):
            low, high = self.neg_iou_thr
            return low, high
        return 0.0, self.neg_iou_thr

    def _overlap_functions(self) -> tuple[Callable, Callable]:
        """IoU of (gt, priors), and the covered fraction (of, by)."""
        calculator = self.iou_calculator
        if type(calculator) is BboxOverlaps2D and calculator.dtype is None:
            return pairwise_iou, lambda of, by: pairwise_iou(of, by, over_first=True)
        return (
            lambda gt, priors: calculator(*_same_batch(gt, priors)),
            lambda of, by: calculator(*_same_batch(of, by), mode='iof'),
        )

    def _shift_repeated(self, gt: PaddedInstances) -> PaddedInstances:
        if self.perm_repeat_gt_cfg is None:
            return gt
        boxes = gt.boxes.clone()
        for image, mask in zip(boxes, gt.mask, strict=True):
            if mask.any():
                image[mask] = perm_repeat_bboxes(
                    image[mask], self.iou_calculator, self.perm_repeat_gt_cfg
                )
        return PaddedInstances(boxes, gt.mask, gt.labels)

    def _covered_by_ignored(
        self, priors: Tensor, ignored: PaddedInstances | None, iof: Callable
    ) -> Tensor | None:
        """Which priors lie in an ignored region, bool, shape (N, S)."""
        if self.ignore_iof_thr <= 0 or ignored is None:
            return None
        covered = None
        for chunk in chunks(ignored.mask, priors):
            regions = ignored.boxes[:, chunk]
            if self.ignore_wrt_candidates:
                fraction = iof(priors, regions).transpose(-1, -2)  # (N, I', S)
            else:
                fraction = iof(regions, priors)
            inside = fraction > self.ignore_iof_thr
            inside = (inside & ignored.mask[:, chunk, None]).any(1)
            covered = inside if covered is None else covered | inside
        return covered


def _same_batch(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """mmdet's calculators want equal batch dimensions."""
    images = max(first.shape[0], second.shape[0])
    return first.expand(images, -1, -1), second.expand(images, -1, -1)


def _one_image(boxes: Tensor) -> PaddedInstances:
    """One image's boxes as a batch, with at least one slot; degenerate ones stay."""
    slots = torch.cat([boxes, boxes.new_zeros(1, 4)]) if len(boxes) == 0 else boxes
    mask = torch.full((1, len(slots)), len(boxes) > 0, device=boxes.device)
    return PaddedInstances(slots[None], mask)
