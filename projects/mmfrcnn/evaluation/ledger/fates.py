"""The step at which a detector loses an object.

An object is looked for in the detections first, and then step by step back to the
anchors: it is lost at the step after the last one that had it.

Shapes: G objects, P proposals, S anchors over all levels of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmfrcnn.evaluation.ledger.trace import FirstStage, ImageTrace
from mmfrcnn.modeling.proposals import ProposalRules
from mmfrcnn.ops.iou import pairwise_iou

FATES = {
    'detected': 'found, with its class',
    'no_anchor': 'no anchor reaches it: none was ever trained on it',
    'not_regressed': 'not proposed: no box of the RPN reaches it',
    'below_top_k': 'not proposed: its boxes score too low for the best of their level',
    'too_small': 'not proposed: its boxes are below the smallest size or score',
    'suppressed_by_rpn_nms': "not proposed: suppressed by the RPN's NMS",
    'beyond_proposal_limit': 'not proposed: more proposals scored higher',
    'not_given': 'not among the proposals that were given',
    'called_background': 'proposed, and called background',
    'called_other_class': 'proposed, and called another class',
    'below_score_threshold': 'its class scored highest, and below the threshold',
    'badly_regressed': 'its class, in a box that does not reach it',
    'suppressed_by_nms': 'suppressed by the NMS of the detections',
    'shared_box': 'its only boxes are a neighbour\'s',
    'beyond_detection_limit': 'more detections of the image scored higher',
}  # fmt: skip
NOT_PROPOSED = (
    *('not_regressed', 'below_top_k', 'too_small'),
    *('suppressed_by_rpn_nms', 'beyond_proposal_limit', 'not_given'),
)


@dataclass(frozen=True)
class Rules:
    """The numbers of a detector by which objects are lost.

    Args:
        iou (float): From which on a box reaches an object.
        anchor_iou (float): Of an anchor that training takes for an object's.
        proposals (ProposalRules | None): The first stage's; None: it has others.
        score_thr (float): Detections score more than this.
        max_per_img (int): Detections an image; not positive: all.
        min_bbox_size (float): Sides of a detection, in input pixels, are at least this.
        nms (dict): The NMS of the detections, as mmdet's ``test_cfg.rcnn`` has it.
    """

    iou: float
    anchor_iou: float
    proposals: ProposalRules | None
    score_thr: float
    max_per_img: int
    min_bbox_size: float
    nms: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any, iou: float) -> Rules:
        """Read them from a detector's own settings."""
        rpn, second = getattr(model, 'rpn_head', None), model.roi_head.test_cfg
        training = getattr(rpn, 'train_cfg', None) or {}
        return cls(
            iou,
            _least_positive(training.get('assigner') or {}),
            None if rpn is None else _proposal_rules(rpn.test_cfg),
            second.score_thr,
            second.max_per_img,
            second.get('min_bbox_size', 0),
            second.nms,
        )


def _least_positive(assigner: dict[str, Any]) -> float:
    """Return the IoU from which on an anchor may be an object's, .3 by default."""
    low = assigner.get('match_low_quality', True)
    least = assigner.get('min_pos_iou' if low else 'pos_iou_thr')
    return least if isinstance(least, int | float) else 0.3


def _proposal_rules(cfg: dict[str, Any]) -> ProposalRules:
    """Read the numbers, whatever kind of NMS it is."""
    return ProposalRules(
        nms_pre=cfg.get('nms_pre', -1),
        max_per_img=cfg.get('max_per_img', -1),
        iou_threshold=cfg['nms'].get('iou_threshold', 0.5),
        min_bbox_size=cfg.get('min_bbox_size', -1),
        score_thr=cfg.get('score_thr', 0.0),
    )


def first_stage_fates(
    trace: ImageTrace,
    boxes: Tensor,
    anchor_iou: np.ndarray,
    size: Sequence[int],
    rules: Rules,
) -> list[str]:
    """Say where the first stage lost objects that no proposal reaches.

    Args:
        trace (ImageTrace): Of the image.
        boxes (Tensor): The objects, xyxy in input pixels, on the host, (G, 4).
        anchor_iou (np.ndarray): IoU of the nearest anchor of each, (G,).
        size (Sequence[int]): (height, width) of the image, in input pixels.
        rules (Rules): The detector's numbers.
    """
    first, limits = trace.first, rules.proposals
    if first is None or limits is None:
        return ['not_given'] * len(boxes)
    decoded = first.boxes(size)
    scores = first.logits.sigmoid()
    usable = (scores >= limits.score_thr) & decoded.isfinite().all(-1)
    if limits.min_bbox_size >= 0:
        usable &= (decoded[:, 2:] - decoded[:, :2] > limits.min_bbox_size).all(-1)
    best = _best_of_levels(first, limits.nms_pre)
    full = 0 < limits.max_per_img <= len(trace.proposals)
    last = trace.objectness[-1].item() if full else -1.0

    fates = []
    for box, nearest in zip(boxes.to(decoded), anchor_iou.tolist(), strict=True):
        reach = pairwise_iou(box[None], decoded)[0] >= rules.iou
        steps = [reach.any(), (reach & best).any(), (reach & best & usable).any()]
        reached, ranked, kept = torch.stack(steps).tolist()
        if nearest < rules.anchor_iou:
            fates.append('no_anchor')
        elif not reached:
            fates.append('not_regressed')
        elif not ranked:
            fates.append('below_top_k')
        elif not kept:
            fates.append('too_small')
        else:
            # What scores more than the last proposal was not cut off by their number.
            top = scores[reach & best & usable].max().item()
            suppressed = top > last
            fates.append(
                'suppressed_by_rpn_nms' if suppressed else 'beyond_proposal_limit'
            )
    return fates


def _best_of_levels(first: FirstStage, number: int) -> Tensor:
    """Mark the best anchors of each level, which become candidates, bool, (S,)."""
    best = torch.zeros_like(first.logits, dtype=torch.bool)
    start = 0
    for level in first.logits.split(first.level_sizes):
        count = min(number, len(level)) if number > 0 else len(level)
        best[level.topk(count).indices + start] = True
        start += len(level)
    return best


def second_stage_fate(
    trace: ImageTrace,
    object_index: int,
    boxes: Tensor,
    labels: Tensor,
    size: Sequence[int],
    last_score: float,
    rules: Rules,
) -> str:
    """Say where the second stage lost an object; '' if no proposal reaches it.

    Args:
        trace (ImageTrace): Of the image.
        object_index (int): Which of the objects.
        boxes (Tensor): All objects, xyxy in input pixels, on the host, (G, 4).
        labels (Tensor): Their classes, (G,).
        size (Sequence[int]): (height, width) of the image, in input pixels.
        last_score (float): Of the last detection, -1 where more had been taken.
        rules (Rules): The detector's numbers.
    """
    box, label = boxes[object_index], int(labels[object_index])
    if not len(trace.proposals):
        return ''
    second = trace.second
    refined = second.boxes_of(label, size)
    scores = second.scores[:, label]
    passing = (scores > rules.score_thr) & refined.isfinite().all(-1)
    if rules.min_bbox_size > 0:
        passing &= (refined[:, 2:] - refined[:, :2] >= rules.min_bbox_size).all(-1)
    reaching = passing & (pairwise_iou(box[None], refined)[0] >= rules.iou)
    if reaching.any():
        if scores[reaching].max() <= last_score:
            return 'beyond_detection_limit'
        same = boxes[labels == label]
        own = (labels[:object_index] == label).sum()
        nearest = pairwise_iou(refined[reaching], same).argmax(1)
        return 'suppressed_by_nms' if (nearest == own).any() else 'shared_box'
    proposed = pairwise_iou(box[None], trace.proposals)[0] >= rules.iou
    if not proposed.any():
        return ''
    if (proposed & passing).any():
        return 'badly_regressed'
    row = second.scores[proposed]
    row = row[row[:, label].argmax()]
    called = int(row.argmax())
    background = second.head.num_classes
    if called == background or (
        len(row) == background and row.max() <= rules.score_thr
    ):
        return 'called_background'
    return 'called_other_class' if called != label else 'below_score_threshold'
