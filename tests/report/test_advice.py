"""Each planted fault is named first, and of sound runs nothing is said."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from mmfrcnn.report.advice import RULES, advice_for
from tests.report.simulated import at_other_scale, facts_of

SEEDS = range(3)
FAULTS = {
    'anchors': dict(small_anchor=0.3),
    'few_proposals': dict(lost={'beyond_proposal_limit': 0.2}),
    'tight_nms': dict(lost={'suppressed_by_nms': 0.15, 'called_background': 0.03}),
    'exchanged_labels': dict(exchange=1.0),
    'missing_labels': dict(unlabelled=0.2),
    'shifted_boxes': dict(shift=5.0),
    'loose_boxes': dict(scatter=12.0),
    'rare_class': dict(rare=25, images=120),
    'overfitting': dict(lost={'called_background': 0.4}, train={}),
}


@pytest.mark.parametrize('seed', range(8))
def test_of_a_sound_run_nothing_is_said(seed):
    assert advice_for(facts_of(seed)) == []


@pytest.mark.parametrize('rule', FAULTS)
def test_the_fault_comes_first(rule):
    for seed in SEEDS:
        first, *_ = advice_for(facts_of(seed, **FAULTS[rule]))
        assert first.rule == rule, (seed, first)
        assert first.figure > 0 and 0 < first.stake <= 1 and first.text


def test_another_scale_comes_first():
    for seed in SEEDS:
        for scale in (0.5, 2.0):
            first = advice_for(at_other_scale(facts_of(seed), scale))[0]
            assert first.rule == 'other_scale'
            assert first.figure == pytest.approx(2)


def test_labels_exchanged_in_the_held_out_images_alone_are_no_overfitting():
    for seed in SEEDS:
        found = advice_for(facts_of(seed, exchange=1.0, train={}))
        assert [one.rule for one in found] == ['exchanged_labels']


def test_labels_that_are_wrong_in_training_alone_are_seen_there():
    for fault, rule in (
        (dict(exchange=0.4), 'exchanged_labels'),
        (dict(unlabelled=0.2), 'missing_labels'),
        (dict(shift=-6.0), 'shifted_boxes'),
    ):
        first = advice_for(facts_of(3, train=fault))[0]
        assert first.rule == rule and 'training images' in first.text


def test_numbers_by_hand():
    """Each text has the figure that its rule went by."""
    shifted = advice_for(facts_of(0, shift=5.0))[0]
    # The boxes moved right and down, so that detections lie to the left and above.
    across, down = (float(one) for one in re.findall(r'(\d\.\d) px', shifted.text))
    assert 'to the left' in shifted.text and 'above' in shifted.text
    assert across == pytest.approx(5, abs=0.7) and down == pytest.approx(5, abs=0.7)
    rare = advice_for(facts_of(0, rare=25, images=120))[0]
    assert "'cow' is rare" in rare.text


def test_what_is_not_known_is_no_fault():
    """A run of which only the evaluation is known, and one with one object."""
    facts = facts_of(0, small_anchor=0.3)
    alone = replace(facts, training=None, fed=None, class_counts=None, settings={})
    assert [one.rule for one in advice_for(alone)] == ['anchors']
    for seed in range(4):
        tiny = facts_of(seed, images=1)
        for rule in RULES:
            list(rule(tiny))
            list(rule(replace(tiny, training=None, fed=None)))


def test_ten_thousand_classes_take_no_matrix():
    facts = facts_of(0, exchange=1.0)
    names = np.array([f'class {i}' for i in range(10_000)])
    wide = [
        replace(split, columns=replace(split.columns, classes=names))
        for split in (facts.held_out, facts.training)
    ]
    many = replace(facts, held_out=wide[0], training=wide[1], class_counts=None)
    assert advice_for(many)[0].rule == 'exchanged_labels'
