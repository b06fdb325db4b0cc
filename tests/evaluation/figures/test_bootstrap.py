"""Intervals and comparisons: by explicit draws, by hand, and what they refuse."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.figures import compare
from mmfrcnn.evaluation.figures.average_precision import AveragePrecision
from mmfrcnn.evaluation.figures.bootstrap import centred, interval, resampled
from mmfrcnn.evaluation.ledger.columns import Columns
from tests.evaluation.figures.oracle import cocos, columns_of, drawn
from tests.evaluation.figures.test_average_precision import repeated


def found_in(shares: list[bool]) -> Columns:
    """An object of one class in each image, found or not, and nothing else."""
    box = [10, 10, 20, 20]
    ids = range(1, len(shares) + 1)
    truth = {
        'images': [{'id': i} for i in ids],
        'categories': [{'id': 1, 'name': 'cell'}],
        'annotations': [
            dict(id=i, image_id=i, category_id=1, bbox=box, iscrowd=0) for i in ids
        ],
    }
    found = [
        dict(image_id=i, category_id=1, bbox=box, score=0.5)
        for i, one in zip(ids, shares, strict=True)
        if one
    ]
    return columns_of(truth, found)


def test_draws_are_images_repeated():
    truth, found = drawn(0, images=10, ties=False)
    ours = resampled([AveragePrecision(columns_of(truth, found))], seed=3, samples=5)
    draws = np.random.default_rng(3)
    for means in ours[:, 0]:
        weights = np.bincount(draws.integers(10, size=10), minlength=10)
        precision, recall = cocos(*repeated(truth, found, weights))
        precision, recall = (one[..., recall[0] >= 0] for one in (precision, recall))
        expected = precision.mean(), precision[0].mean(), precision[5].mean()
        np.testing.assert_allclose(
            means, [*expected, recall.mean()], rtol=0, atol=1e-12
        )


def test_the_interval_of_a_share_is_the_binomials():
    """Without false detections the recall is a share, whose spread is known."""
    shares = [i % 4 > 0 for i in range(200)]
    draws = resampled([AveragePrecision(found_in(shares))], seed=0)[:, 0, 3]
    error = np.sqrt(0.75 * 0.25 / 200)
    bounds = interval(centred(draws, 0.75), 200)
    assert bounds['low'] == pytest.approx(0.75 - 1.96 * error, abs=0.3 * error)
    assert bounds['high'] == pytest.approx(0.75 + 1.96 * error, abs=0.3 * error)


def test_the_middle_lies_around_the_figure():
    values = np.array([np.nan, *np.linspace(0, 1, 41)])
    moved = centred(values[:, None], np.array([0.7]))[:, 0]
    bounds = interval(moved, 10)
    assert bounds == pytest.approx({'low': 0.225, 'high': 1.175})
    assert interval(moved, 1) == {'low': None, 'high': None}
    assert interval(np.array([np.nan]), 10) == {'low': None, 'high': None}


def test_a_run_that_finds_more_is_better():
    few = found_in([i % 2 == 0 for i in range(60)])
    more = found_in([i % 4 > 0 for i in range(60)])
    result = compare(few, more, samples=200)
    assert result['AR']['a'] == 0.5 and result['AR']['b'] == 0.75
    # Half of the images gain their object, a quarter lose it.
    change = np.array([(i % 4 > 0) - (i % 2 == 0) for i in range(60)]).astype(float)
    error = change.std() / np.sqrt(60)
    assert result['AR']['low'] == pytest.approx(0.25 - 1.96 * error, abs=0.4 * error)
    assert result['AR']['better'] > 0.97
    # At 101 recalls: 76 are reached, and 51.
    assert result['AP']['difference'] == pytest.approx(25 / 101)
    assert result['sentence'].startswith('B is better than A by 0.248 AP (95% interval')
    back = compare(more, few, samples=200)
    assert back['AP']['difference'] == -result['AP']['difference']
    assert back['sentence'].startswith('A is better than B by 0.248 AP')


def test_of_equal_runs_no_difference_is_shown():
    truth, found = drawn(2)
    result = compare(columns_of(truth, found), columns_of(truth, found), samples=20)
    assert result['AP']['difference'] == 0 == result['AP']['better']
    assert result['sentence'] == (
        'No difference is shown: B - A is +0.000 AP (95% interval +0.000 to +0.000).'
    )


def test_the_order_of_images_and_objects_does_not_matter():
    truth, found = drawn(2, ties=False)
    other = copy.deepcopy(truth)
    other['images'].reverse()
    other['annotations'].reverse()
    a, b = columns_of(truth, found), columns_of(other, found)
    result = compare(a, b, samples=20)
    assert result['AP']['low'] == result['AP']['high'] == 0


def test_runs_that_cannot_be_compared():
    truth, found = drawn(2)
    a = columns_of(truth, found)
    fewer = truth | {'images': truth['images'][1:]}
    with pytest.raises(UserError, match='images differ: only in A: 1; only in B: none'):
        compare(a, columns_of(fewer, found))
    named = truth | {
        'categories': [one | {'name': one['name'] + '!'} for one in truth['categories']]
    }
    with pytest.raises(
        UserError, match='classes differ: only in A: 0; 1; 2; only in B'
    ):
        compare(a, columns_of(named, found))
    with pytest.raises(UserError, match='another order'):
        compare(a, replace(a, classes=a.classes[::-1]))
    moved = copy.deepcopy(truth)
    one = next(one for one in moved['annotations'] if not one['iscrowd'])
    one['bbox'][0] += 1
    with pytest.raises(UserError, match=f'objects of image {one["image_id"]} differ'):
        compare(a, columns_of(moved, found))
    without = copy.deepcopy(truth)
    last = [one for one in without['annotations'] if not one['iscrowd']][-1]
    without['annotations'].remove(last)
    with pytest.raises(UserError, match=f'objects of image {last["image_id"]} differ'):
        compare(a, columns_of(without, found))


@pytest.mark.parametrize('what', ['no images', 'one image', 'no detections'])
def test_nothing(what):
    truth, found = drawn(2)
    if what == 'no detections':
        found = []
    else:
        number = {'no images': 0, 'one image': 1}[what]
        truth['images'] = truth['images'][:number]
        own = [one['id'] for one in truth['images']]
        truth['annotations'] = [
            one for one in truth['annotations'] if one['image_id'] in own
        ]
    columns = columns_of(truth, found)
    result = compare(columns, columns, samples=10)
    says = {
        'no images': 'There is nothing to compare: the images have no objects.',
        'one image': 'B - A is +0.000 AP; of one image, there is no interval.',
        'no detections': 'No difference is shown: B - A is +0.000 AP '
        '(95% interval +0.000 to +0.000).',
    }
    assert result['sentence'] == says[what]
