"""The account of every object and every detection of an evaluation, and its sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from mmfrcnn.evaluation.ledger.fates import (
    FATES,
    NOT_PROPOSED,
    Rules,
    first_stage_fates,
    second_stage_fate,
)
from mmfrcnn.evaluation.ledger.groups import groups_of
from mmfrcnn.evaluation.ledger.matching import THRESHOLDS, xywh
from mmfrcnn.evaluation.ledger.mistakes import NAMES, judge
from mmfrcnn.evaluation.ledger.nearest import Nearest
from mmfrcnn.evaluation.ledger.oracles import oracles_of
from mmfrcnn.evaluation.ledger.page import Page
from mmfrcnn.evaluation.ledger.regained import oracle_gains, regained
from mmfrcnn.evaluation.ledger.trace import ImageTrace
from mmfrcnn.evaluation.ledger.truth import Truth
from mmfrcnn.evaluation.proposal_recall import first_hits

PROPOSALS = (100, 300, 1000)
DETECTIONS = 100
"""Detections an image that COCO's evaluator looks at."""


def account_of(
    trace: ImageTrace, truth: Truth, sample: dict[str, Any], rules: Rules
) -> Page:
    """Account for an image.

    Args:
        trace (ImageTrace): What the detector made of it.
        truth (Truth): Its objects.
        sample (dict): Its ``pred_instances`` in its own pixels, and meta information.
        rules (Rules): The detector's numbers.
    """
    found = sample['pred_instances']
    order = np.argsort(-found['scores'].cpu().numpy(), kind='stable')[:DETECTIONS]
    boxes, scores, labels = (
        found[name].cpu().numpy()[order] for name in ('bboxes', 'scores', 'labels')
    )
    kinds, about, hits = judge(boxes, labels, truth, rules.iou)
    counts = ~truth.ignored
    own = truth.in_input(sample['scale_factor'])[counts]
    named = groups_of(truth.boxes, sample['ori_shape'])
    groups = {kind: names[counts].tolist() for kind, names in named.items()}
    nearest = Nearest.of(trace, own, boxes, sample['scale_factor'])
    if trace.first is not None:
        groups['level'] = [f'level {one}' for one in nearest.anchor_level.tolist()]
    full = 0 < rules.max_per_img <= len(found['scores'])
    fates = _fates(
        trace,
        own,
        torch.from_numpy(truth.labels[counts]),
        set(about[kinds == NAMES.index('true')].tolist()),
        nearest.anchor_iou,
        sample['img_shape'],
        float(found['scores'].min()) if full else -1.0,
        rules,
    )
    oracles = oracles_of(trace, truth, fates, sample, rules, DETECTIONS)
    return Page(
        sample['img_id'],
        truth.path,
        truth.boxes[counts],
        truth.labels[counts],
        groups,
        fates,
        nearest,
        first_hits(xywh(own.numpy()), trace.proposals.numpy(), THRESHOLDS),
        boxes,
        scores,
        labels,
        kinds,
        about,
        hits,
        sample['ori_shape'],
        sample['scale_factor'],
        oracles,
    )


def _fates(
    trace: ImageTrace,
    boxes: torch.Tensor,
    labels: torch.Tensor,
    detected: set[int],
    nearest: np.ndarray,
    size: Sequence[int],
    last_score: float,
    rules: Rules,
) -> list[str]:
    fates = [
        'detected'
        if index in detected
        else second_stage_fate(trace, index, boxes, labels, size, last_score, rules)
        for index in range(len(boxes))
    ]
    left = [index for index, fate in enumerate(fates) if not fate]
    if left:
        lost = first_stage_fates(trace, boxes[left], nearest[left], size, rules)
        for index, fate in zip(left, lost, strict=True):
            fates[index] = fate
    return fates


def summarise(
    pages: Iterable[Page], names: Sequence[str], iou: float
) -> dict[str, Any]:
    """Return the sums over all images, as they are written to ``ledger.json``.

    Args:
        pages (Iterable[Page]): The account of each image.
        names (Sequence[str]): Names of the classes.
        iou (float): From which on an object is found.

    Returns:
        dict: ``objects`` and ``detections`` (counts that sum to ``total``), ``groups``
        (the objects' counts by group), ``recall`` of the proposals, overall and by
        group, ``regained`` and ``oracles`` (AP that would be gained).
    """
    pages = list(pages)
    fates = [fate for page in pages for fate in page.fates]
    kinds = Counter(NAMES[kind] for page in pages for kind in page.kinds)
    groups: dict[str, list[str]] = {
        'class': [names[label] for page in pages for label in page.labels]
    }
    for kind in ('size', 'aspect', 'crowding', 'position', 'level'):
        members = [name for page in pages for name in page.groups.get(kind, ())]
        if members:
            groups[kind] = members
    ranks = np.concatenate(
        [np.zeros((len(THRESHOLDS), 0)), *(page.ranks for page in pages)], 1
    )
    return {
        'iou': iou,
        'images': len(pages),
        'objects': _counted(fates),
        'detections': {
            'total': sum(kinds.values()),
            **{name: kinds[name] for name in NAMES},
        },
        'regained': regained(pages, len(names)),
        'oracles': oracle_gains(pages, len(names)),
        'recall': _recall(ranks),
        'groups': {
            kind: {
                name: {
                    'objects': _counted([fates[i] for i in members]),
                    'recall': _recall(ranks[:, members]),
                }
                for name, members in _members(of_each).items()
            }
            for kind, of_each in groups.items()
        },
    }


def _members(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the places of each name, those of most first."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return dict(sorted(places.items(), key=lambda item: -len(item[1])))


def _counted(fates: Sequence[str]) -> dict[str, int]:
    counts = Counter(fates)
    return {
        'total': len(fates),
        **{fate: counts[fate] for fate in FATES},
        'not_proposed': sum(counts[fate] for fate in NOT_PROPOSED),
    }


def _recall(ranks: np.ndarray) -> dict[str, float]:
    """Return the average recall of the best proposals; -1 without objects."""
    return {
        f'AR@{number}': float((ranks < number).mean()) if ranks.size else -1.0
        for number in PROPOSALS
    }
