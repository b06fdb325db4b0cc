"""What the painter puts where, pixel by pixel, and what a large picture costs."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import time

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmfrcnn.visualization.painter import Painter

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def painter():
    return Painter(('cat', 'größer'), [RED, BLUE])


def grey(height=120, width=200) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def changed(picture: np.ndarray) -> np.ndarray:
    return (picture != 100).any(2)


def found(*boxes, labels=None, **more) -> InstanceData:
    labels = torch.zeros(len(boxes)).long() if labels is None else labels
    return InstanceData(bboxes=torch.tensor(boxes).float(), labels=labels, **more)


def test_a_box_is_a_frame_in_the_colour_of_its_class(painter):
    original = grey()
    picture = painter.draw(original, found([20, 60, 80, 100], labels=torch.tensor([1])))
    assert (original == 100).all()  # a copy is drawn on
    for x, y in ((20, 80), (80, 80), (50, 60), (50, 100)):
        assert tuple(picture[y, x]) == BLUE
    assert not changed(picture)[64:97, 24:77].any()  # nothing inside
    assert not changed(picture)[:, 100:].any()


def test_the_name_is_above_and_inside_the_picture(painter):
    above = changed(painter.draw(grey(), found([20, 60, 80, 100])))
    assert above[44:58, 22:40].mean() > 0.9  # white on red
    for box in ([1, 1, 9, 9], [150, 1, 199, 20], [-30, -20, 20, 20]):
        assert changed(painter.draw(grey(), found(box)))[:17].any()


def test_scores_are_written(painter):
    box = [20, 60, 80, 100]
    plain = painter.draw(grey(), found(box))
    scored = painter.draw(grey(), found(box, scores=torch.tensor([0.87])))
    assert changed(scored)[44:58].sum() > changed(plain)[44:58].sum()


def test_dashes_leave_gaps(painter):
    painter.start(grey())
    painter.outline(torch.tensor([[20.0, 60, 80, 100]]), [RED], line_style='--')
    top = changed(painter.picture())[60, 20:80]
    assert 0.3 < top.mean() < 0.8


def test_zoom_enlarges_what_is_drawn(painter):
    painter.start(grey(), 3)
    painter.outline(torch.tensor([[20.0, 30, 40, 35]]), [RED])
    picture = painter.picture()
    assert picture.shape == (360, 600, 3)
    assert tuple(picture[90, 90]) == tuple(picture[105, 90]) == RED


def test_masks_are_seen_through(painter):
    mask = torch.zeros(1, 120, 200).bool()
    mask[0, 70:90, 30:60] = True
    picture = painter.draw(grey(), found([20, 60, 80, 100], masks=mask))
    assert tuple(picture[80, 40]) == (177, 50, 50)
    assert tuple(picture[80, 70]) == (100, 100, 100)


def test_what_has_no_place_is_left_out(painter):
    nowhere = [[float('nan'), 1, 2, 3], [1, 1, float('inf'), 9]]
    assert not changed(painter.draw(grey(), found(*nowhere))).any()
    assert not changed(painter.draw(grey(), found([1, 1, 2, 2])[:0])).any()
    turned = painter.draw(grey(), found([80, 100, 20, 60]))
    assert tuple(turned[80, 20]) == RED


def test_twelve_megapixels_cost_a_copy_and_lines(painter):
    """Matplotlib takes ten times as long, and draws on a canvas of floats."""
    random = np.random.default_rng(0)
    boxes = torch.from_numpy(random.uniform(0, 2000, (100, 4))).float()
    boxes[:, 2:] += boxes[:, :2]
    large = np.zeros((3000, 4000, 3), np.uint8)
    begin = time.process_time()
    painter.draw(large, found(*boxes.tolist()))
    assert time.process_time() - begin < 1.5
