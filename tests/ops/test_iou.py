"""Pairwise IoU against float64 arithmetic and, to the last bit, against mmdet."""

from __future__ import annotations

import pytest
import torch
import torchvision
from mmdet.structures.bbox import bbox_overlaps

from mmfrcnn.ops.iou import pairwise_iou


def exact_iou(first, second, *, over_first=False):
    """One pair at a time, in Python floats."""
    rows = []
    for a in first.double().tolist():
        row = []
        for b in second.double().tolist():
            width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
            height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            area_a = (a[2] - a[0]) * (a[3] - a[1])
            area_b = (b[2] - b[0]) * (b[3] - b[1])
            whole = area_a if over_first else area_a + area_b - width * height
            row.append(width * height / max(whole, 1e-6))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64).view(len(first), len(second))


@pytest.mark.parametrize('over_first', [False, True])
@pytest.mark.parametrize('grid', [None, 10])
def test_equals_exact_arithmetic(random_boxes, over_first, grid):
    generator = torch.Generator().manual_seed(1)
    first = random_boxes(40, generator, grid=grid)
    second = random_boxes(30, generator, grid=grid)
    found = pairwise_iou(first, second, over_first=over_first)
    expected = exact_iou(first, second, over_first=over_first)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    if not over_first and grid is None:
        torchvisions = torchvision.ops.box_iou(first, second)
        torch.testing.assert_close(found, torchvisions)


@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_equals_mmdet_to_the_last_bit(random_boxes, mode):
    generator = torch.Generator().manual_seed(2)
    for grid in (None, 5, 20):
        first = random_boxes(200, generator, grid=grid)
        second = random_boxes(300, generator, grid=grid)
        ours = pairwise_iou(first, second, over_first=mode == 'iof')
        assert torch.equal(ours, bbox_overlaps(first, second, mode=mode))


def test_leading_dimensions_broadcast(random_boxes):
    generator = torch.Generator().manual_seed(3)
    first = random_boxes(3 * 7, generator).view(3, 7, 4)
    second = random_boxes(11, generator)
    found = pairwise_iou(first, second[None])
    assert found.shape == (3, 7, 11)
    for image in range(3):
        assert torch.equal(found[image], pairwise_iou(first[image], second))


def test_literal_values():
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    others = torch.tensor(
        [
            [0.0, 0.0, 10.0, 10.0],  # itself
            [5.0, 0.0, 15.0, 10.0],  # a third
            [10.0, 0.0, 20.0, 10.0],  # touching
            [2.0, 2.0, 2.0, 8.0],  # no area
            [0.0, 0.0, 1.0, 1.0],  # one pixel
        ]
    )
    expected = torch.tensor([[1.0, 1 / 3, 0.0, 0.0, 0.01]])
    torch.testing.assert_close(pairwise_iou(box, others), expected)
    covered = pairwise_iou(others, box, over_first=True)
    torch.testing.assert_close(covered, torch.tensor([[1.0, 0.5, 0.0, 0.0, 1.0]]).T)


@pytest.mark.parametrize('counts', [(0, 5), (5, 0), (0, 0)])
def test_no_boxes(counts):
    first, second = (torch.zeros(count, 4) for count in counts)
    assert pairwise_iou(first, second).shape == counts


def test_inputs_are_left_alone(random_boxes):
    generator = torch.Generator().manual_seed(4)
    first, second = random_boxes(5, generator), random_boxes(6, generator)
    before = first.clone(), second.clone()
    pairwise_iou(first, second)
    assert torch.equal(first, before[0])
    assert torch.equal(second, before[1])
