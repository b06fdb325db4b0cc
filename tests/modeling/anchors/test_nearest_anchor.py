"""The nearest anchor, beside looking at all anchors of a grid."""

from __future__ import annotations

import numpy as np
import torch
from mmdet.models.task_modules import AnchorGenerator
from torchvision.ops import box_iou

from mmfrcnn.modeling.nearest_anchor import nearest_of_pyramid

GENERATOR = AnchorGenerator(strides=[4, 8], ratios=[0.5, 1, 2], scales=[2, 3])
SIZES = [(60, 90), (30, 45)]


def nearest(boxes: torch.Tensor):
    cells = [np.array([[width, height]]) for height, width in SIZES]
    return nearest_of_pyramid(boxes.numpy(), GENERATOR, cells)


def test_it_is_what_looking_at_all_finds():
    levels = GENERATOR.grid_priors(SIZES, device='cpu')
    anchors = torch.cat(levels)
    boxes = anchors[[3, 9_000, 33_000, -1]] + torch.tensor([0.0, 0.0, 0.5, 0.25])
    boxes = torch.cat([boxes, torch.tensor([[500.0, 500.0, 510.0, 510.0]])])
    iou, level, found = nearest(boxes)
    best, place = box_iou(boxes, anchors).max(1)
    np.testing.assert_allclose(iou, best, rtol=1e-5)
    assert level[:4].tolist() == (place[:4] >= len(levels[0])).long().tolist()
    assert set(level[:4]) == {0, 1}
    np.testing.assert_allclose(found[:4], anchors[place[:4]], atol=1e-4)
    assert iou[4] == 0
    inside = torch.from_numpy(found).float()
    np.testing.assert_allclose(box_iou(boxes, inside).diagonal(), iou, atol=1e-5)


def test_without_boxes():
    iou, level, found = nearest(torch.zeros(0, 4))
    assert iou.shape == level.shape == (0,) and found.shape == (0, 4)
