"""What to do first, by rules that each have a figure.

A rule looks at the facts and says what is wrong, or nothing. How much is at stake, as
a share of the objects, decides which comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mmfrcnn.evaluation.figures.average_precision import MEANS, AveragePrecision
from mmfrcnn.evaluation.ledger.fates import NOT_PROPOSED
from mmfrcnn.report.facts import Facts, Split
from mmfrcnn.report.labels import (
    EXCHANGED,
    FEW,
    box_offsets,
    confusions,
    exchanges,
    unlabelled,
)

ANCHOR_IOU = 0.5
"""An object whose nearest anchor has less is hardly reached."""
ENOUGH = 30
"""Objects that a median needs."""
SCALES_APART = 1.35
"""Ratio of sizes in training and in tests that is no matter of augmentation."""
LOST, MOST = 0.03, 0.3
"""Share of all objects, and of those that are missed, that a step may lose."""
UNLABELLED = 0.1
"""Share of the sure detections that lie on the background."""
SHIFTED, SIGNIFICANT = 0.03, 5.0
"""Offset of the boxes, in sides of an object, and in errors of its median."""
LOOSE, ALIKE = 0.1, 2.0
"""Scatter of the boxes of small objects, in their sides; that of large ones to it."""
OVERFITTED = 0.15
"""AP50 on training images that is more than on others."""
RARE, WORSE = 0.1, 0.15
"""Objects of a class, in medians of the classes; and recall that it lacks."""


@dataclass(frozen=True)
class Advice:
    """One piece of advice.

    Attributes:
        rule (str): Name of the rule.
        text (str): What is wrong, and what to do.
        figure (float): What the rule went by.
        limit (float): From which on it speaks.
        stake (float): Share of the objects that it may be about, 0 to 1.
    """

    rule: str
    text: str
    figure: float
    limit: float
    stake: float


def advice_for(facts: Facts) -> list[Advice]:
    """Return what to do, best first; nothing of a run that is sound."""
    found = [advice for rule in RULES for advice in rule(facts)]
    return sorted(found, key=lambda one: -one.stake)


def other_scale(facts: Facts) -> Iterator[Advice]:
    """Objects are tested at another size than they are trained at."""
    if facts.training is None or facts.fed is None:
        return
    trained, tested = facts.fed.sides, facts.training.input_sides
    if min(len(trained), len(tested)) < ENOUGH:
        return
    ratio = float(np.median(tested) / max(np.median(trained), 1e-6))
    low, high = np.quantile(trained, (0.25, 0.75))
    apart = max(ratio, 1 / max(ratio, 1e-6))
    if apart > SCALES_APART and not low <= np.median(tested) <= high:
        yield Advice(
            'other_scale',
            'Training and tests differ in scale: the same objects are '
            f'{np.median(trained):.0f} px large in training (median) and '
            f'{np.median(tested):.0f} px in tests. Give Resize in both pipelines the '
            'same scale.',
            apart,
            SCALES_APART,
            1 - max(facts.held_out.average_precision, 0),
        )


def anchors(facts: Facts) -> Iterator[Advice]:
    """Objects that no anchor overlaps by half are not proposed."""
    columns, fates = facts.held_out.columns, facts.held_out.fates
    bare = columns.object_anchor_iou < ANCHOR_IOU
    lost = np.isin(fates, ('no_anchor', *NOT_PROPOSED))
    if not bare.any():
        return
    usual = lost[~bare].mean() if (~bare).sum() >= ENOUGH else 0.0
    figure = float((lost[bare].mean() - usual) * bare.mean())
    if figure <= LOST:
        return
    side = np.median(facts.held_out.input_sides[bare & lost])
    spans = ''
    if facts.fed and facts.fed.anchor_sides:
        low, high = facts.fed.anchor_sides
        spans = f'; those of the config are {low:.0f} to {high:.0f} px'
    yield Advice(
        'anchors',
        f'{bare.mean():.0%} of the objects have no anchor of IoU {ANCHOR_IOU:g}, and '
        f'{lost[bare].mean():.0%} of these are not proposed (median side {side:.0f} px '
        f'in the input{spans}). `mmfrcnn anchors CONFIG` proposes others.',
        figure,
        LOST,
        figure,
    )


def few_proposals(facts: Facts) -> Iterator[Advice]:
    """The first stage had a box for objects, and dropped it."""
    held_out, settings = facts.held_out, facts.settings
    remedies = {
        'below_top_k': ('nms_pre', 'model.test_cfg.rpn.nms_pre'),
        'suppressed_by_rpn_nms': (
            'rpn_nms_iou',
            'model.test_cfg.rpn.nms.iou_threshold',
        ),
        'beyond_proposal_limit': ('proposals', 'model.test_cfg.rpn.max_per_img'),
    }
    figure = held_out.share(*remedies)
    if figure <= LOST or figure < MOST * _lost(held_out):
        return
    worst = max(remedies, key=lambda fate: held_out.share(fate))
    name, key = remedies[worst]
    value = f' (now {settings[name]:g})' if name in settings else ''
    yield Advice(
        'few_proposals',
        f'{figure:.0%} of the objects had a box in the RPN and no proposal, most of '
        f'them lost as {worst}. Raise {key}{value}; if that is high already, the RPN '
        'ranks badly: train longer.',
        figure,
        LOST,
        figure,
    )


def tight_nms(facts: Facts) -> Iterator[Advice]:
    """The last NMS suppresses neighbours."""
    figure = facts.held_out.share('suppressed_by_nms', 'shared_box')
    if figure <= LOST or figure < MOST * _lost(facts.held_out):
        return
    value = facts.settings.get('nms_iou')
    now = f' (now {value:g})' if value is not None else ''
    yield Advice(
        'tight_nms',
        f'The last NMS suppresses {figure:.0%} of the objects, '
        f'{figure / _lost(facts.held_out):.0%} of all that are missed: boxes of '
        f'neighbours. Raise model.test_cfg.rcnn.nms.iou_threshold{now}, or use '
        'soft_nms.',
        figure,
        LOST,
        figure,
    )


def exchanged_labels(facts: Facts) -> Iterator[Advice]:
    """Objects of two classes are called each other."""
    for split, where in _splits(facts):
        pairs, counts = confusions(split)
        both = exchanges(pairs, counts)
        if not both:
            continue
        (a, b), figure = max(both.items(), key=lambda item: item[1])
        one, other = facts.classes[a], facts.classes[b]
        yield Advice(
            'exchanged_labels',
            f'In {where}, {pairs[a, b] / counts[a]:.0%} of {one!r} are called '
            f'{other!r} and {pairs[b, a] / counts[b]:.0%} of {other!r} {one!r}: their '
            'labels may be exchanged, in training or here. Look at both with `mmfrcnn '
            'browse`.',
            figure,
            EXCHANGED,
            float(pairs[a, b] + pairs[b, a]) / counts.sum(),
        )
        return


def missing_labels(facts: Facts) -> Iterator[Advice]:
    """Sure detections lie where nothing is labelled."""
    for split, where in _splits(facts):
        figure, sure = unlabelled(split)
        if figure <= UNLABELLED or sure < FEW:
            continue
        yield Advice(
            'missing_labels',
            f'In {where}, {figure:.0%} of the detections that are as sure as most true '
            f'ones ({sure} of them) lie where nothing is labelled: labels may be '
            'missing. The list of likely label errors names the places.',
            figure,
            UNLABELLED,
            figure,
        )
        return


def shifted_boxes(facts: Facts) -> Iterator[Advice]:
    """Detections lie beside the labelled boxes, all to one side."""
    for split, where in _splits(facts):
        offsets, sides = box_offsets(split)
        if len(offsets) < ENOUGH:
            continue
        middle = np.median(offsets, 0)
        spread = np.median(np.abs(offsets - middle), 0)
        error = 1.86 * spread / np.sqrt(len(offsets))  # of a median, by its deviation
        figure = float(np.abs(middle).max() / np.median(sides))
        place = int(np.abs(middle).argmax())
        if figure <= SHIFTED or abs(middle[place]) < SIGNIFICANT * error[place]:
            continue
        yield Advice(
            'shifted_boxes',
            f'In {where}, the detections lie {abs(middle[0]):.1f} px to the '
            f'{"right" if middle[0] > 0 else "left"} and {abs(middle[1]):.1f} px '
            f'{"below" if middle[1] > 0 else "above"} the labelled boxes (median): the '
            'boxes of training or of these images are shifted. Look with `mmfrcnn '
            'browse`, and check what converted them.',
            figure,
            SHIFTED,
            min(1.0, 5 * figure),
        )
        return


def loose_boxes(facts: Facts) -> Iterator[Advice]:
    """Boxes are as many pixels off where objects are small as where they are large."""
    for split, where in _splits(facts):
        offsets, sides = box_offsets(split)
        small = sides <= np.median(sides) if len(sides) else sides > 0
        if min(small.sum(), (~small).sum()) < ENOUGH:
            continue
        halves = [offsets[half] for half in (small, ~small)]
        low, high = (np.abs(one - np.median(one, 0)) for one in halves)
        spread = float(np.median(low))
        figure = spread / float(np.median(sides[small]))
        if figure <= LOOSE or np.median(high) > ALIKE * spread:
            continue
        yield Advice(
            'loose_boxes',
            f'In {where}, the labelled boxes lie some {spread:.1f} px beside the '
            'detections, to any side, of small and large objects alike: they are drawn '
            'loosely there, or were in training. Look with `mmfrcnn browse`.',
            figure,
            LOOSE,
            min(1.0, 2.5 * figure),
        )
        return


def overfitting(facts: Facts) -> Iterator[Advice]:
    """Training images are known by heart."""
    if facts.training is None:
        return
    seen, unseen = (
        AveragePrecision(split.columns).of_classes()[MEANS.index('AP50')]
        for split in (facts.training, facts.held_out)
    )
    known = ~np.isnan(seen) & ~np.isnan(unseen)
    # Of most classes: that one is rare, or two are exchanged, is another matter.
    exchanged = exchanges(*confusions(facts.held_out))
    known[[label for pair in exchanged for label in pair]] = False
    if not known.any():
        return
    gap = float(np.median((seen - unseen)[known]))
    if gap <= OVERFITTED:
        return
    yield Advice(
        'overfitting',
        f'AP50 is {seen[known].mean():.2f} on training images and '
        f'{unseen[known].mean():.2f} on held-out ones: the network overfits. More '
        'images, stronger augmentation or fewer epochs help.',
        gap,
        OVERFITTED,
        gap,
    )


def rare_classes(facts: Facts) -> Iterator[Advice]:
    """A class with few training objects is found less often than the others."""
    if facts.class_counts is None or len(facts.classes) < 2:
        return
    counts = np.asarray(facts.class_counts)
    labels = facts.held_out.columns.object_label
    found = labels[facts.held_out.fates == 'detected']
    objects, detected = (np.bincount(x, minlength=len(counts)) for x in (labels, found))
    usual = np.median(counts)
    for label in np.argsort(counts, kind='stable').tolist():
        others = len(labels) - objects[label]
        if counts[label] >= RARE * usual or not objects[label] or not others:
            continue
        own = float(detected[label] / objects[label])
        rest = float((len(found) - detected[label]) / others)
        if rest - own <= WORSE:
            continue
        name = facts.classes[label]
        yield Advice(
            'rare_class',
            f'{name!r} is rare: {counts[label]} objects in training (median of the '
            f'classes: {usual:.0f}), and {own:.0%} of it are found, of '
            f'the others {rest:.0%}. Label more of it, or show its '
            'images more often: ClassBalancedDataset.',
            float(counts[label] / usual),
            RARE,
            (rest - own) / len(facts.classes),
        )
        return


def _lost(split: Split) -> float:
    return 1 - split.share('detected')


def _splits(facts: Facts) -> Iterator[tuple[Split, str]]:
    yield facts.held_out, 'the held-out images'
    if facts.training is not None:
        yield facts.training, 'the training images'


RULES: tuple[Callable[[Facts], Iterator[Advice]], ...] = (
    other_scale,
    exchanged_labels,
    missing_labels,
    shifted_boxes,
    loose_boxes,
    anchors,
    few_proposals,
    tight_nms,
    overfitting,
    rare_classes,
)
