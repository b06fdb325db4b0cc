"""Groups of objects against a count by hand and torchvision."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import box_iou

from mmfrcnn.evaluation.ledger import groups
from mmfrcnn.evaluation.ledger.groups import groups_of


def test_groups_by_hand():
    boxes = [
        [0, 10, 20, 30],  # at the left border
        [30, 30, 90, 50],  # three times as wide as high
        [100, 30, 110, 90],
        [100, 32, 110, 92],  # nearly the same
        [120, 20, 318, 238],  # large, and 2 px from the border
    ]
    found = groups_of(np.array(boxes, float), (240, 320))
    assert {name: group.tolist() for name, group in found.items()} == {
        'size': ['small', 'medium', 'small', 'small', 'large'],
        'aspect': ['regular', 'wide', 'tall', 'tall', 'regular'],
        'crowding': ['alone', 'alone', 'hid', 'hid', 'alone'],
        'position': ['at the border', *['in'] * 4],
    }


def test_no_objects():
    found = groups_of(np.zeros((0, 4)), (240, 320))
    assert [len(group) for group in found.values()] == [0, 0, 0, 0]


def test_crowding_is_the_largest_iou_with_another(monkeypatch):
    monkeypatch.setattr(groups, 'AT_ONCE', 100)  # in several parts
    corner = torch.rand(60, 2, generator=torch.Generator().manual_seed(0)) * 100
    boxes = torch.cat([corner, corner + 20], 1).double()
    iou = box_iou(boxes, boxes).fill_diagonal_(0).max(1).values
    torch.testing.assert_close(groups._most_shared(boxes), iou)
