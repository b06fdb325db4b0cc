"""Calibration and score histograms, counted by loops and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mmfrcnn.evaluation.figures.calibration import BINS, calibration_of
from mmfrcnn.evaluation.figures.scores import scores_of
from tests.evaluation.figures.oracle import columns_of, drawn


def test_by_loops():
    draws = np.random.default_rng(0)
    scores, hits = draws.random(300), draws.choice([1, 0, -1], 300)
    result = calibration_of(scores, hits)
    error, total = 0.0, (hits >= 0).sum()
    for place, part in enumerate(result['bins']):
        own = [
            (score, hit)
            for score, hit in zip(scores, hits, strict=True)
            if place / BINS <= score < (place + 1) / BINS and hit >= 0
        ]
        score, precision = np.mean(own, 0)
        assert part['detections'] == len(own)
        assert part['score'] == pytest.approx(score)
        assert part['precision'] == pytest.approx(precision)
        error += len(own) / total * abs(score - precision)
    assert result['error'] == pytest.approx(error)


def test_by_hand():
    # Three of .9 of which two are right, and one of 1, which is wrong.
    result = calibration_of(np.array([0.9, 0.9, 0.9, 1.0]), np.array([1, 1, 0, 0]))
    last, before = result['bins'][-1], result['bins'][-2]
    assert (before['detections'], last['detections']) == (3, 1)
    assert before['precision'] == pytest.approx(2 / 3)
    assert result['error'] == pytest.approx(3 / 4 * (0.9 - 2 / 3) + 1 / 4)
    assert result['bins'][0] == {
        **dict(low=0.0, high=0.05, detections=0),
        **dict(score=None, precision=None),
    }
    assert calibration_of(np.zeros(0), np.zeros(0, int))['error'] is None


def test_scores_of_each_kind_are_counted():
    columns = columns_of(*drawn(1, ties=False))
    result = scores_of(columns)
    for kind, name in enumerate(columns.kinds):
        own = columns.detection_score[columns.detection_kind == kind]
        expected = np.histogram(own, np.array(result['edges']))[0]
        assert result['detections'][name] == expected.tolist(), name
    total = sum(sum(one) for one in result['detections'].values())
    assert total == len(columns.detection_score)
