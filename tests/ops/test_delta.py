"""The box code against mmdet's, the formula in float64, and its own inverse."""

from __future__ import annotations

import math

import pytest
import torch
from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import (
    bbox2delta,
    delta2bbox,
)

from mmfrcnn.ops.delta import decode_boxes, encode_boxes

CODES = [
    ((0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0)),
    ((0.0, 0.0, 0.0, 0.0), (0.1, 0.1, 0.2, 0.2)),
    ((0.01, -0.02, 0.3, -0.4), (0.05, 0.1, 0.3, 0.7)),
]


def boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 900
    sides = torch.rand(count, 2, generator=generator) * 400 + 0.5
    return torch.cat([corners, corners + sides], 1)


@pytest.mark.parametrize('code', CODES)
def test_encodes_to_the_bits_of_mmdet(code):
    first, second = boxes(5000, 0), boxes(5000, 1)
    assert torch.equal(
        encode_boxes(first, second, *code), bbox2delta(first, second, *code)
    )


@pytest.mark.parametrize('code', CODES)
def test_decodes_to_the_bits_of_mmdet(code):
    deltas = torch.randn(5000, 4, generator=torch.Generator().manual_seed(2)) * 3
    first = boxes(5000, 0)
    assert torch.equal(
        decode_boxes(first, deltas, *code), delta2bbox(first, deltas, *code)
    )


def test_is_the_papers_formula():
    """Appendix C: t_x = (G_x - P_x) / P_w and t_w = log(G_w / P_w), in float64."""
    first, second = boxes(500, 3).double(), boxes(500, 4).double()
    for (x1, y1, x2, y2), (u1, v1, u2, v2), found in zip(
        first.tolist(),
        second.tolist(),
        encode_boxes(first, second).tolist(),
        strict=True,
    ):
        w, h = x2 - x1, y2 - y1
        expected = [
            ((u1 + u2) / 2 - (x1 + x2) / 2) / w,
            ((v1 + v2) / 2 - (y1 + y2) / 2) / h,
            math.log((u2 - u1) / w),
            math.log((v2 - v1) / h),
        ]
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize('code', CODES)
def test_decoding_inverts_encoding(code):
    first = boxes(2000, 5)
    second = first + boxes(2000, 6) * 0.05  # of a like size: no side is clamped
    again = decode_boxes(first, encode_boxes(first, second, *code), *code)
    torch.testing.assert_close(again, second, rtol=1e-4, atol=1e-2)


def test_sides_are_clamped_and_not_numbers_stay_so():
    box = torch.tensor([0.0, 0.0, 10.0, 10.0])
    huge = decode_boxes(box, torch.tensor([0.0, 0.0, 99.0, -99.0]))
    sides = huge[2:] - huge[:2]
    assert sides.tolist() == pytest.approx([625.0, 0.16], rel=1e-4)
    lost = decode_boxes(box, torch.tensor([math.nan, 0.0, 0.0, 0.0]))
    assert lost.isnan().tolist() == [True, False, True, False]


@pytest.mark.parametrize('shape', [(0, 4), (2, 0, 4), (2, 3, 4)])
def test_any_leading_dimensions(shape):
    assert encode_boxes(torch.ones(shape), torch.ones(shape)).shape == shape
    assert decode_boxes(torch.ones(shape), torch.ones(shape)).shape == shape
