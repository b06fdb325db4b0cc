"""Precision, recall and F1 by counting anew at each threshold."""

from __future__ import annotations

import numpy as np
import pytest

from mmfrcnn.evaluation.figures.operating_point import POINTS, Curve


def counted(scores: np.ndarray, hits: np.ndarray, objects: int, threshold: float):
    kept = [hit for score, hit in zip(scores, hits, strict=True) if score >= threshold]
    right, wrong = kept.count(1), kept.count(0)
    precision, recall = right / (right + wrong), right / objects
    return precision, recall, 2 * right / (2 * right + wrong + objects - right)


@pytest.mark.parametrize('seed', range(5))
def test_every_point_is_counted(seed):
    draws = np.random.default_rng(seed)
    scores = draws.integers(1, 20, 60) / 20
    hits = draws.choice([1, 0, -1], 60)
    objects = 45
    curve = Curve.of(scores, hits, objects)
    assert curve.threshold.tolist() == sorted(set(scores[hits >= 0]), reverse=True)
    points = np.stack([curve.precision, curve.recall, curve.f1], 1)
    expected = [counted(scores, hits, objects, one) for one in curve.threshold]
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-15)
    best = curve.best()
    assert best['F1'] == max(one[2] for one in expected)
    again = counted(scores, hits, objects, best['threshold'])
    assert again == pytest.approx((best['precision'], best['recall'], best['F1']))


def test_of_two_best_the_higher_threshold():
    # F1 of 2/3 from .9 on, and again from .7 on.
    curve = Curve.of(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1]), 3)
    assert curve.f1.tolist() == pytest.approx([1 / 2, 2 / 5, 2 / 3])
    curve = Curve.of(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 0, 1]), 2)
    assert curve.f1.tolist() == pytest.approx([2 / 3, 1 / 2, 2 / 5, 2 / 3])
    assert curve.best()['threshold'] == 0.9


@pytest.mark.parametrize('hits', [[], [0, 0], [-1, -1]])
def test_where_nothing_is_right_there_is_no_threshold(hits):
    curve = Curve.of(np.linspace(1, 0.5, len(hits)), np.array(hits, int), 4)
    assert curve.best() == dict(threshold=None, precision=None, recall=0.0, F1=0.0)
    assert len(curve.drawn()['F1']) == hits.count(0)


def test_a_long_curve_is_drawn_by_some_of_its_points():
    draws = np.random.default_rng(0)
    scores = draws.beta(1, 20, 50_000)  # crowded at the low end
    curve = Curve.of(scores, (draws.random(50_000) < scores).astype(int), 3000)
    points = curve.drawn()
    assert 100 < len(points['threshold']) <= POINTS
    places = np.searchsorted(-curve.threshold, -np.array(points['threshold']))
    assert curve.recall[places].tolist() == points['recall']
    assert places[0] == 0 and places[-1] == len(curve.threshold) - 1
    steps = np.diff(points['recall']), np.diff(points['threshold'])
    assert steps[0].max() < 0.02 * curve.recall[-1] and -steps[1].min() < 0.2
