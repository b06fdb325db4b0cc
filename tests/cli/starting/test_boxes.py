"""Scale and anchors from the sizes of boxes: beside mmdet's anchors, and extremes."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import numpy as np
import pytest
import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torchvision.ops import box_iou

from mmfrcnn.cli.starting.boxes import (
    RATIOS,
    STRIDES,
    best_iou,
    choose_anchors,
    choose_scale,
    sizes_of,
)
from mmfrcnn.data.formats.pictures import Object, Picture


def picture(boxes, size=(640, 480), **extra) -> Picture:
    objects = [Object('cat', tuple(map(float, box)), 'x', **extra) for box in boxes]
    return Picture('a.jpg', *size, objects)


def square(side: float, count: int = 50) -> list:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 400 - side / 2, (count, 2))
    return [(x, y, x + side, y + side) for x, y in corners]


@pytest.mark.parametrize('ratios', RATIOS)
@pytest.mark.parametrize('scale', [2, 4, 8])
def test_best_iou_equals_that_of_all_anchors(scale, ratios):
    random = np.random.default_rng(scale)
    centre, sides = random.uniform(100, 400, (60, 2)), random.uniform(6, 190, (60, 2))
    boxes = np.concatenate([centre - sides / 2, centre + sides / 2], 1)
    made = AnchorGenerator(strides=STRIDES, ratios=ratios, scales=[scale])
    shapes = [(512 // stride, 512 // stride) for stride in STRIDES]
    anchors = torch.cat(made.grid_priors(shapes, device='cpu')).double()
    expected = box_iou(torch.from_numpy(boxes), anchors).amax(1).numpy()
    np.testing.assert_allclose(best_iou(boxes, scale, ratios), expected, atol=1e-6)


def test_large_boxes_keep_the_usual_anchors_and_scale():
    sizes = sizes_of([picture(square(200))], ['cat'])
    scale, reason = choose_scale(sizes, 'cpu')
    assert scale == (400, 304)
    assert reason == 'images are 640x480; no box gets narrower than 8 px'
    assert choose_scale(sizes, 'cuda')[0] == (1064, 800)
    scale, ratios, reason = choose_anchors(sizes, (400, 304))
    assert (scale, ratios) == (8, RATIOS[0])
    assert reason == '100.0% of the boxes have an anchor of IoU .5'


def test_small_boxes_get_a_larger_scale_and_smaller_anchors():
    sizes = sizes_of([picture(square(12))], ['cat'])
    scale, reason = choose_scale(sizes, 'cpu')
    assert scale == (800, 600)  # 16 px want 853, which is beyond the limit
    assert 'no box gets narrower' in reason
    assert choose_anchors(sizes, scale)[0] == 4


def test_boxes_that_stay_too_small_are_counted():
    boxes = [*square(100, 90), *square(4, 10)]
    scale, reason = choose_scale(sizes_of([picture(boxes)], ['cat']), 'cpu')
    assert scale == (800, 600)
    assert reason.endswith('10.0% of the boxes get narrower than 8 px')


def test_tiny_pictures_are_not_enlarged_beyond_use():
    sizes = sizes_of([picture([(1, 1, 9, 9)], (40, 30))], ['cat'])
    assert choose_scale(sizes, 'cpu')[0] == (160, 120)
    assert choose_scale(sizes, 'cuda')[0] == (160, 120)


def test_flat_boxes_get_flat_anchors():
    sizes = sizes_of([picture([(x, 100, x + 200, 140) for x in range(50)])], ['cat'])
    _, ratios, reason = choose_anchors(sizes, (640, 480))
    assert ratios == RATIOS[1]
    assert '0.0% with the usual ones' in reason


def test_portraits_are_turned_landscapes():
    wide = sizes_of([picture([(0, 0, 60, 90)], (640, 480))], ['cat'])
    tall = sizes_of([picture([(0, 0, 90, 60)], (480, 640))], ['cat'])
    assert choose_scale(wide, 'cpu')[0] == choose_scale(tall, 'cpu')[0]


def test_boxes_that_cannot_be_used_do_not_count():
    good = picture(square(100, 5))
    bad = picture([(5, 5, 5, 9), (700, 1, 720, 9)])
    crowd = picture([(0, 0, 3, 3)], ignored=True)
    sizes = sizes_of([good, bad, crowd], ['cat'])
    assert len(sizes.boxes) == 5 and sizes.owner.tolist() == [0] * 5
    assert len(sizes.images) == 3
