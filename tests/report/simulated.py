"""Runs that are made up: objects, a good detector, and a fault that is planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.groups import groups_of
from mmfrcnn.evaluation.ledger.ledger import summarise
from mmfrcnn.evaluation.ledger.mistakes import NAMES, judge
from mmfrcnn.evaluation.ledger.page import Page
from mmfrcnn.evaluation.ledger.truth import Truth
from mmfrcnn.report.facts import Facts, Fed, Split
from tests.evaluation.ledger.nearest import nearest_to

CLASSES = ('cat', 'dog', 'cow')
WIDTH, HEIGHT = 640, 480
FOUND, JITTER = 0.93, 0.03


def pages_of(
    seed: int,
    images: int = 40,
    lost: dict[str, float] | None = None,
    shift: float = 0.0,
    scatter: float = 0.0,
    unlabelled: float = 0.0,
    exchange: float = 0.0,
    rare: int = 0,
    small_anchor: float = 0.0,
    paths: list[str] | None = None,
) -> list[Page]:
    """Make up the account of images.

    Args:
        seed: Of all draws.
        images: How many.
        lost: Share of the objects lost by fate; by default 5% are called background.
        shift: Pixels by which labelled boxes lie beside their objects.
        scatter: The same, each box to a side of its own.
        unlabelled: Share of the objects without a label.
        exchange: Share of the first two classes labelled as each other.
        rare: So many times as rare is the last class, and two of three are missed.
        small_anchor: Share of the objects without an anchor, none of which is found.
        paths: Files of the images.
    """
    draws = np.random.default_rng(seed)
    lost = {'called_background': 0.05} if lost is None else lost
    return [
        _page(
            *(draws, image, lost, shift, scatter, unlabelled, exchange, rare),
            *(small_anchor, paths),
        )
        for image in range(images)
    ]


def _page(
    draws, image, lost, shift, scatter, unlabelled, exchange, rare, small_anchor, paths
) -> Page:
    count = int(draws.integers(4, 12))
    sides = draws.uniform(30, 110, (count, 2))
    corners = draws.uniform(10, (WIDTH - 130, HEIGHT - 130), (count, 2))
    boxes = np.concatenate([corners, corners + sides], 1)
    share = np.array([1, 1, 1 / rare if rare else 1])
    labels = draws.choice(3, count, p=share / share.sum())
    fates = draws.choice(
        ['detected', *lost], count, p=[1 - sum(lost.values()), *lost.values()]
    ).astype(object)
    if rare:
        fates[(labels == 2) & (draws.random(count) < 0.67)] = 'called_background'
    anchor_iou = draws.uniform(0.5, 0.9, count)
    bare = draws.random(count) < small_anchor
    anchor_iou[bare] = draws.uniform(0.1, 0.3, bare.sum())
    fates[bare] = 'no_anchor'

    found = fates == 'detected'
    moved = boxes[found] + draws.normal(0, JITTER, (found.sum(), 4)) * np.tile(
        sides[found], 2
    )
    scores = draws.beta(12, 2, found.sum())
    number = int(draws.integers(0, 3))  # false ones, unsure
    low = draws.uniform(10, (WIDTH - 90, HEIGHT - 90), (number, 2))
    false = np.concatenate([low, low + draws.uniform(20, 80, (number, 2))], 1)
    given = np.concatenate([moved, false])
    called = np.concatenate([labels[found], draws.integers(0, 3, number)])
    scores = np.concatenate([scores, draws.beta(2, 12, number)])
    order = np.argsort(-scores)

    swapped = (labels < 2) & (draws.random(count) < exchange)
    labels = np.where(swapped, 1 - labels, labels)
    kept = draws.random(count) >= unlabelled
    aside = scatter * draws.uniform(-1, 1, (count, 2)) if scatter else 0.0
    boxes = boxes + np.tile(aside, 2) if scatter else boxes
    boxes, labels, fates = boxes[kept] + shift, labels[kept], fates[kept]
    nobody = np.zeros(len(labels), bool)
    truth = Truth(boxes, labels, nobody, '')
    kinds, about, hits = judge(given[order], called[order], truth, 0.5)
    true = set(about[kinds == NAMES.index('true')].tolist())
    fates = [
        'detected'
        if i in true
        else fate
        if fate != 'detected'
        else 'called_other_class'
        for i, fate in enumerate(fates.tolist())
    ]
    return Page(
        image,
        paths[image] if paths else f'{image}.jpg',
        boxes,
        labels,
        {k: v.tolist() for k, v in groups_of(boxes, (HEIGHT, WIDTH)).items()},
        fates,
        nearest_to(boxes, given[order], anchor_iou[kept]),
        np.zeros((10, len(labels))),
        given[order],
        scores[order],
        called[order],
        kinds,
        about,
        hits,
        (HEIGHT, WIDTH),
        (1.0, 1.0),
    )


def split_of(pages: list[Page]) -> Split:
    return Split(Columns.of(pages, CLASSES), summarise(pages, CLASSES, 0.5))


def facts_of(seed: int, train: dict | None = None, **fault) -> Facts:
    """Return the facts of a run, with faults of what is held out and of training."""
    held_out = split_of(pages_of(seed, **fault))
    training = split_of(pages_of(seed + 1000, **(fault if train is None else train)))
    columns = training.columns
    return Facts(
        held_out,
        training,
        Fed(training.input_sides, columns.object_anchor_iou, (32.0, 512.0)),
        np.bincount(columns.object_label, minlength=3).tolist(),
        {'nms_iou': 0.5, 'proposals': 1000.0, 'nms_pre': 1000.0, 'rpn_nms_iou': 0.7},
    )


def at_other_scale(facts: Facts, scale: float) -> Facts:
    """Return the facts of a run whose training is fed objects of another scale."""
    assert facts.fed is not None
    return replace(facts, fed=replace(facts.fed, sides=facts.fed.sides * scale))
