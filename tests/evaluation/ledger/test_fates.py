"""The step that loses an object, each step by an image made to lose it there."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from mmfrcnn.evaluation.ledger.fates import (
    FATES,
    Rules,
    first_stage_fates,
    second_stage_fate,
)
from mmfrcnn.evaluation.ledger.trace import FirstStage, ImageTrace, SecondStage
from mmfrcnn.modeling.box_coder import DeltaBoxCoder
from mmfrcnn.modeling.proposals import ProposalRules

SIZE = (100, 120)  # height, width
OBJECT = [10.0, 10.0, 50.0, 50.0]
NEIGHBOUR = [14.0, 10.0, 54.0, 50.0]
FAR = [60.0, 60.0, 100.0, 90.0]
CODER = DeltaBoxCoder()
ASIDE = [2.0, 0.0, 0.0, 0.0]  # by twice the width


def rules(**changed):
    given = dict(nms_pre=2, max_per_img=3, iou_threshold=0.7, min_bbox_size=0)
    numbers = dict(score_thr=0.2, max_per_img=5, min_bbox_size=0) | changed
    return Rules(0.5, 0.3, ProposalRules(**given), **numbers)


def seen(regions=(OBJECT,), scores=((0.9, 0.05, 0.05),), deltas=None, first=None):
    """What a detector of two classes makes of its proposals."""
    boxes = torch.tensor(regions).view(-1, 4)
    moves = torch.zeros(len(boxes), 8) if deltas is None else torch.tensor(deltas)
    head = SimpleNamespace(num_classes=2, bbox_coder=CODER)
    chances = torch.tensor(scores) if scores else torch.zeros(0, 3)
    second = SecondStage(head, boxes, chances, moves)
    objectness = torch.linspace(0.9, 0.5, len(boxes))
    return ImageTrace(first, boxes, objectness, second)


def second_fate(trace, *, objects=(OBJECT,), last=-1.0, **changed):
    boxes = torch.tensor(objects)
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return second_stage_fate(trace, 0, boxes, labels, SIZE, last, rules(**changed))


@pytest.mark.parametrize(
    'fate, trace, more',
    [
        ('called_background', seen(scores=[(0.1, 0.05, 0.85)]), {}),
        ('called_other_class', seen(scores=[(0.1, 0.8, 0.1)]), {}),
        ('below_score_threshold', seen(scores=[(0.4, 0.3, 0.3)]), dict(score_thr=0.5)),
        ('badly_regressed', seen(deltas=[ASIDE * 2]), {}),
        ('suppressed_by_nms', seen(), {}),
        ('beyond_detection_limit', seen(), dict(last=0.95)),
        ('shared_box', seen([NEIGHBOUR]), dict(objects=(OBJECT, NEIGHBOUR))),
        # One of its boxes is nearer to it: without NMS it had been found.
        (
            'suppressed_by_nms',
            seen([NEIGHBOUR, OBJECT], [(0.9, 0, 0.1)] * 2),
            dict(objects=(OBJECT, NEIGHBOUR)),
        ),
        # Its box reaches it only after the refinement; nothing of it is left out.
        ('suppressed_by_nms', seen([FAR], deltas=[[-1.25, -5 / 3, 0, 0.2877] * 2]), {}),
        # Too narrow for a detection, as it asks for 41 px.
        ('called_background', seen(scores=[(0.3, 0, 0.7)]), dict(min_bbox_size=41)),
        # Of sigmoids, each class has a score of its own.
        ('called_background', seen(scores=[(0.1, 0.15)]), {}),
        ('called_other_class', seen(scores=[(0.1, 0.6)]), {}),
        # Not the second stage's.
        ('', seen([FAR]), {}),
        ('', seen((), ()), {}),
    ],
)
def test_the_second_stage_loses_it(fate, trace, more):
    assert second_fate(trace, **more) == fate


def first(anchors, logits, deltas=None, level_sizes=None):
    anchors = torch.tensor(anchors)
    deltas = torch.zeros(len(anchors), 4) if deltas is None else torch.tensor(deltas)
    sizes = level_sizes or [len(anchors)]
    head = SimpleNamespace(bbox_coder=CODER)
    return FirstStage(head, [], anchors, sizes, torch.tensor(logits), deltas)


SOME = [FAR, [0.0, 60.0, 30.0, 90.0], [60.0, 0.0, 90.0, 30.0]]
FLAT = [10.0, 10.0, 50.0, 10.0]


@pytest.mark.parametrize(
    'fate, stage, proposals',
    [
        ('no_anchor', first([*SOME, FLAT], [0.0, 1, 2, 9]), SOME),
        ('not_regressed', first([OBJECT, *SOME], [9.0, 1, 2, 3], [ASIDE] * 4), SOME),
        # Two are taken of each level.
        ('below_top_k', first([*SOME, OBJECT], [3.0, 2, 1, -1]), SOME),
        ('suppressed_by_rpn_nms', first([*SOME, OBJECT], [3.0, 2, 1, 4]), SOME),
        ('suppressed_by_rpn_nms', first([*SOME, OBJECT], [3.0, -8, -9, -2]), SOME[:2]),
        ('beyond_proposal_limit', first([*SOME, OBJECT], [3.0, -7, -8, -1]), SOME),
        # On a level of its own it is among the best.
        (
            'beyond_proposal_limit',
            first([*SOME, OBJECT], [3.0, 2, 1, -1], level_sizes=[3, 1]),
            SOME,
        ),
        ('not_given', None, SOME),
    ],
)
def test_the_first_stage_loses_it(fate, stage, proposals):
    boxes = torch.tensor([OBJECT])
    trace = seen(proposals, [(0.1, 0.1, 0.8)] * len(proposals), first=stage)
    nearest = np.zeros(1)
    if stage is not None:
        nearest = box_iou(boxes, stage.anchors).max(1).values.numpy()
    assert first_stage_fates(trace, boxes, nearest, SIZE, rules()) == [fate]


def test_a_proposal_that_is_too_small():
    flat, wide = [10.0, 10.0, 50.0, 14.0], [10.0, 10.0, 50.0, 15.0]
    stage = first([*SOME, wide], [0.0, 1, 2, 9], [[0.0] * 4] * 4)
    trace = seen(SOME, [(0.1, 0.1, 0.8)] * 3, first=stage)
    limits = rules()
    strict = ProposalRules(2, 3, 0.7, min_bbox_size=8)
    limits = Rules(0.5, 0.3, strict, 0.2, 5, 0)
    found = first_stage_fates(
        trace, torch.tensor([flat]), np.array([0.8]), SIZE, limits
    )
    assert found == ['too_small']


def test_every_fate_has_its_words():
    assert len(set(FATES.values())) == len(FATES)
