"""`bbox_overlaps` of mmcv.ops against a loop over pairs."""

from __future__ import annotations

import pytest
import torch
from mmcv.ops import bbox_overlaps

FIRST = [[0, 0, 10, 10], [10, 10, 20, 20], [32, 32, 38, 42], [5, 5, 5, 9]]
SECOND = [[0, 0, 10, 20], [0, 10, 10, 19], [10, 10, 20, 20], [4, 4, 8, 30]]


def overlap(one, other, mode, offset):
    def extent(low, high):
        return max(high - low + offset, 0)

    def area(box):
        return extent(box[0], box[2]) * extent(box[1], box[3])

    common = [max(one[0], other[0]), max(one[1], other[1])]
    common = area([*common, min(one[2], other[2]), min(one[3], other[3])])
    whole = area(one) if mode == 'iof' else area(one) + area(other) - common
    whole = max(whole, offset)
    return common / whole if whole else float('nan')


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_equals_a_loop_over_pairs(mode, offset, dtype):
    first, second = (torch.tensor(boxes, dtype=dtype) for boxes in (FIRST, SECOND))
    expected = torch.tensor(
        [[overlap(a, b, mode, offset) for b in SECOND] for a in FIRST], dtype=dtype
    )
    options = dict(mode=mode, offset=offset)
    found = bbox_overlaps(first, second, **options)
    torch.testing.assert_close(found, expected, equal_nan=True)
    found = bbox_overlaps(first, second, aligned=True, **options)
    torch.testing.assert_close(found, expected.diagonal(), equal_nan=True)


def test_no_boxes():
    boxes, nothing = torch.rand(3, 4), torch.zeros(0, 4)
    assert bbox_overlaps(boxes, nothing).shape == (3, 0)
    assert bbox_overlaps(nothing, boxes).shape == (0, 3)
