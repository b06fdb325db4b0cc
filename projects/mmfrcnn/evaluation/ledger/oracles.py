"""What a detector would answer, had it one step perfect.

The steps after the perfect one are run as the detector runs them: its second stage, its
score threshold, its NMS, its limit. An anchor or a proposal is perfect where it is an
object's own box; that tells what is lost for want of it, not what a first stage would
learn that was trained with it.

Hoiem et al. 2012 (section 3.3) have the idea, TIDE the other way to do it: mistakes put
right after the fact, in `regained`.

Shapes: P proposals, G objects that count, K candidates, D detections, T thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from mmcv.ops import batched_nms
from torch import Tensor

from mmfrcnn.evaluation.ledger.fates import Rules
from mmfrcnn.evaluation.ledger.matching import THRESHOLDS, hits_of, match, overlaps
from mmfrcnn.evaluation.ledger.page import Answer
from mmfrcnn.evaluation.ledger.trace import ImageTrace, SecondStage
from mmfrcnn.evaluation.ledger.truth import Truth
from mmfrcnn.modeling.nms_config import plain_nms_threshold
from mmfrcnn.ops.iou import pairwise_iou
from mmfrcnn.ops.nms import grouped_nms

ORACLES = {
    'anchors': 'the objects that no anchor reaches are among the proposals',
    'missing proposals': 'the objects that no proposal reaches are among them',
    'proposals': 'the objects are the proposals, and nothing else is',
    'class': 'a proposal that reaches an object has its class, any other none',
    'box': 'a proposal that reaches an object of a class has its box',
    'NMS': 'of what reaches an object the best is kept, and nothing else',
}
DETECTOR = 'detector'
"""The answer without any oracle, by the same computation."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """A class and a box of a proposal each, before NMS.

    Attributes:
        boxes (Tensor): xyxy, float32, shape (K, 4).
        scores (Tensor): float32, shape (K,).
        labels (Tensor): int64, shape (K,).
        proposals (Tensor): Whose they are, int64, shape (K,).
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    proposals: Tensor

    @classmethod
    def of(
        cls, second: SecondStage, size: Sequence[int], score_thr: float
    ) -> Candidates:
        """Return all that score more than a threshold, boxes in input pixels."""
        scores = second.scores[:, : second.head.num_classes]
        proposals, labels = (scores > score_thr).nonzero(as_tuple=True)
        boxes = second.refined(proposals, labels, size)
        return cls(boxes, scores[proposals, labels], labels, proposals)

    def __getitem__(self, rows: Tensor | slice) -> Candidates:
        return Candidates(*(getattr(self, one.name)[rows] for one in fields(self)))

    def __add__(self, others: Candidates) -> Candidates:
        names = [one.name for one in fields(self)]
        return Candidates(
            *(torch.cat([getattr(self, one), getattr(others, one)]) for one in names)
        )

    def best_first(self) -> Candidates:
        """Return them by falling score, equals in their order."""
        return self[self.scores.argsort(descending=True, stable=True)]


def oracles_of(
    trace: ImageTrace,
    truth: Truth,
    fates: Sequence[str],
    sample: dict[str, Any],
    rules: Rules,
    limit: int,
) -> dict[str, Answer]:
    """Return what a detector would answer with each of `ORACLES`, and `DETECTOR`.

    Args:
        trace (ImageTrace): What the detector made of the image.
        truth (Truth): Its objects.
        fates (Sequence[str]): Of the objects that count, a key of `FATES` each.
        sample (dict): Its meta information.
        rules (Rules): The detector's numbers.
        limit (int): Detections that are looked at.

    Returns:
        dict: By name, without those of the proposals where the second stage does not
        take the objects for proposals.
    """
    counts = ~truth.ignored
    objects = truth.in_input(sample['scale_factor'])[counts]
    labels = torch.from_numpy(truth.labels[counts])
    size, score_thr = sample['img_shape'], rules.score_thr
    reach = pairwise_iou(trace.proposals, objects)  # (P, G)
    own = Candidates.of(trace.second, size, score_thr)
    steps = {
        DETECTOR: own,
        'class': _of_perfect_class(trace.second, reach, labels, size, rules.iou),
        'box': _with_perfect_boxes(own, reach, objects, labels, rules.iou),
    }
    if trace.objects is not None:
        added = Candidates.of(trace.objects, size, score_thr)
        added = added[(objects[:, 2:] > objects[:, :2]).all(-1)[added.proposals]]
        lost = torch.tensor([fate == 'no_anchor' for fate in fates], dtype=torch.bool)
        missing = ~(reach >= rules.iou).any(0)
        steps['anchors'] = own + added[lost[added.proposals]]
        steps['missing proposals'] = own + added[missing[added.proposals]]
        steps['proposals'] = added
    scale = torch.as_tensor(sample['scale_factor'], dtype=torch.float32).repeat(2)
    steps = {name: _usable(one, rules, scale) for name, one in steps.items()}
    kept = {name: _suppressed(one, rules.nms) for name, one in steps.items()}
    kept['NMS'] = _with_perfect_nms(steps[DETECTOR], kept[DETECTOR], truth, rules.iou)
    if rules.max_per_img > 0:
        limit = min(limit, rules.max_per_img)
    return {
        name: _answer(one.best_first()[:limit], truth, rules.iou)
        for name, one in kept.items()
    }


def _of_perfect_class(
    second: SecondStage,
    reach: Tensor,
    labels: Tensor,
    size: Sequence[int],
    iou: float,
) -> Candidates:
    """Call each proposal what it overlaps most, if that is enough.

    The class is certain. Of several certain ones, NMS and AP need to know the better:
    that remains the one that the detector gives a higher score for this class.
    """
    if not len(labels):
        return Candidates.of(second, size, torch.inf)
    best, nearest = reach.max(1)
    rows = (best >= iou).nonzero()[:, 0]
    called = labels[nearest[rows]]
    scores = 1 + second.scores[rows, called]
    return Candidates(second.refined(rows, called, size), scores, called, rows)


def _with_perfect_boxes(
    own: Candidates, reach: Tensor, objects: Tensor, labels: Tensor, iou: float
) -> Candidates:
    """Refine each proposal to the object of the class that it overlaps most."""
    if not len(labels):
        return own
    same = own.labels[:, None] == labels  # (K, G)
    best, nearest = (reach[own.proposals] * same).max(1)
    boxes = torch.where((best >= iou)[:, None], objects[nearest], own.boxes)
    return replace(own, boxes=boxes)


def _with_perfect_nms(
    candidates: Candidates, survivors: Candidates, truth: Truth, iou: float
) -> Candidates:
    """Keep the best candidate of each object, and no other that reaches an object.

    Of what reaches none, the ordinary NMS has kept ``survivors``.
    """
    candidates = candidates.best_first()
    reach = _reach(candidates, truth)
    usable, kept, row = reach >= iou, [], 0
    # As COCO pairs them: the best takes, of the objects left, the one it overlaps most.
    while (later := usable[row:].any(1)).any():
        row += int(later.argmax())
        kept.append(row)
        taken = np.flatnonzero(usable[row])
        usable[:, taken[reach[row, taken].argmax()]] = False
        row += 1
    nowhere = (_reach(survivors, truth) < iou).all(1)
    return (
        candidates[torch.tensor(kept, dtype=torch.int64)]
        + survivors[torch.from_numpy(nowhere)]
    )


def _reach(candidates: Candidates, truth: Truth) -> np.ndarray:
    """Return the IoU with the objects that count, 0 with another class's, (K, G)."""
    counts = ~truth.ignored
    boxes, labels = truth.boxes[counts], truth.labels[counts]
    found = overlaps(candidates.boxes.numpy(), boxes, np.zeros(len(boxes), bool))
    return found * (candidates.labels.numpy()[:, None] == labels)


def _usable(candidates: Candidates, rules: Rules, scale: Tensor) -> Candidates:
    """Leave out what the detector would; bring boxes into pixels of the image."""
    boxes = candidates.boxes
    fine = boxes.isfinite().all(-1)
    if rules.min_bbox_size > 0:
        fine &= (boxes[:, 2:] - boxes[:, :2] >= rules.min_bbox_size).all(-1)
    return replace(candidates, boxes=boxes / scale)[fine]


def _suppressed(candidates: Candidates, nms: dict[str, Any]) -> Candidates:
    """Return what the NMS of mmdet's ``nms=dict(...)`` keeps."""
    if not len(candidates.scores):
        return candidates
    threshold = plain_nms_threshold(nms)
    if threshold is None:
        found, kept = batched_nms(
            candidates.boxes, candidates.scores, candidates.labels, nms
        )
        return replace(candidates[kept], boxes=found[:, :4], scores=found[:, 4])
    groups = candidates.labels
    if nms.get('class_agnostic', False):
        groups = torch.zeros_like(groups)
    keep = grouped_nms(candidates.boxes, candidates.scores, groups, threshold)
    return candidates[keep]


def _answer(found: Candidates, truth: Truth, iou: float) -> Answer:
    labels = found.labels.numpy()
    shared = overlaps(found.boxes.numpy(), truth.boxes, truth.ignored)
    rest = labels, truth.labels, truth.ignored
    matched = match(shared, *rest, [iou, *THRESHOLDS])
    return Answer(found.scores.numpy(), labels, hits_of(matched, truth.ignored))
