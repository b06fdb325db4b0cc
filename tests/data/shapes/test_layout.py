"""What the pictures promise: how many, how large, how much of each shows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmfrcnn.data.shapes import outlines
from mmfrcnn.data.shapes.layout import (
    HEIGHT,
    MAX_SIZE,
    MIN_SIZE,
    MIN_VISIBLE,
    WIDTH,
    box_of,
    random_layout,
)
from mmfrcnn.data.shapes.outlines import CLASSES


@pytest.fixture(scope='module')
def layouts():
    return [random_layout(np.random.default_rng([7, index])) for index in range(600)]


def objects(layers, crowd=False):
    return [
        layer for layer in layers if layer.category is not None and layer.crowd == crowd
    ]


def test_shares_of_empty_and_crowd_pictures(layouts):
    empty = sum(not any(layer.category is not None for layer in one) for one in layouts)
    crowd = sum(bool(objects(one, crowd=True)) for one in layouts)
    # Binomial with n = 600, p = 0.1: a standard deviation of 1.2 %.
    assert 0.06 < empty / 600 < 0.14
    assert 0.05 < crowd / 600 < 0.14


def test_all_classes_are_about_as_frequent(layouts):
    seen = np.bincount(
        [layer.category for one in layouts for layer in objects(one)],
        minlength=len(CLASSES),
    )
    assert seen.min() > 0.8 * seen.mean()
    assert seen.max() < 1.2 * seen.mean()


def test_sizes_span_the_promised_range_and_stay_in_it(layouts):
    sides = np.array(
        [max(box_of(layer.visible)[2:]) for one in layouts for layer in objects(one)]
    )
    assert sides.min() >= MIN_SIZE == 12
    assert sides.max() <= MAX_SIZE == 160
    assert (sides < 20).mean() > 0.1
    assert (sides > 100).mean() > 0.05


def test_occlusion_is_common_and_bounded(layouts):
    shares = np.array(
        [
            layer.visible.sum() / layer.full_area
            for one in layouts
            for layer in objects(one)
        ]
    )
    assert shares.min() >= MIN_VISIBLE
    assert shares.max() == 1
    assert (shares < 0.9).mean() > 0.1


def test_visible_masks_do_not_overlap(layouts):
    for layers in layouts[:100]:
        cover = np.sum([layer.visible for layer in layers], axis=0)
        assert np.max(cover, initial=0) <= 1


def test_masks_are_what_is_left_of_the_outlines(layouts):
    for layers in layouts[:50]:
        owner = np.full((HEIGHT, WIDTH), -1)
        for index, layer in enumerate(layers):
            for loops in layer.parts:
                owner[outlines.fill(loops, WIDTH, HEIGHT) > 127] = index
        for index, layer in enumerate(layers):
            np.testing.assert_array_equal(layer.visible, owner == index)


def test_box_of_is_the_extent_by_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random((9, 13)) < 0.05
        points = [(x, y) for y in range(9) for x in range(13) if mask[y, x]]
        if not points:
            assert box_of(mask) == (0, 0, 0, 0)
            continue
        xs, ys = zip(*points, strict=True)
        expected = (min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)
        assert box_of(mask) == expected


@pytest.mark.parametrize('name', CLASSES)
def test_outlines_have_the_size_and_centre_asked_for(name):
    rng = np.random.default_rng(1)
    for _ in range(20):
        size = rng.uniform(MIN_SIZE, MAX_SIZE)
        centre = np.array([WIDTH / 2, HEIGHT / 2])
        loops = outlines.object_outline(name, rng, centre=centre, size=size)
        low, high = loops[0].min(0), loops[0].max(0)
        assert (high - low).max() == pytest.approx(size - 1)
        np.testing.assert_allclose((low + high) / 2, centre)
        mask = outlines.fill(loops, WIDTH, HEIGHT) > 127
        assert max(box_of(mask)[2:]) == pytest.approx(size, abs=1.5)
        assert outlines.full_area(loops) == mask.sum()


@pytest.mark.parametrize(
    ('name', 'corners'),
    [('square', 4), ('triangle', 3)],
)
def test_polygons_have_their_corners_and_are_convex(name, corners):
    loop = outlines.object_outline(
        name, np.random.default_rng(2), centre=np.zeros(2), size=80
    )[0]
    assert len(loop) == corners
    assert cv2.isContourConvex(loop.astype(np.float32))


@pytest.mark.parametrize(('name', 'notches'), [('star', 5), ('cross', 4)])
def test_stars_and_crosses_have_their_notches(name, notches):
    """As many corners point inwards as there are gaps between the arms."""
    loop = outlines.object_outline(
        name, np.random.default_rng(2), centre=np.zeros(2), size=80
    )[0]
    before, after = loop - np.roll(loop, 1, 0), np.roll(loop, -1, 0) - loop
    turn = np.sign(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0])
    assert min((turn > 0).sum(), (turn < 0).sum()) == notches
