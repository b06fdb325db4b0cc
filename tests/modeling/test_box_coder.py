"""Our coder beside mmdet's, by its interface."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)

# isort: split
import pytest
import torch
from mmdet.models.task_modules.coders import (
    DeltaXYWHBBoxCoder,
    DeltaXYWHBBoxCoderForGLIP,
)
from mmdet.structures.bbox import HorizontalBoxes

from mmfrcnn.modeling.box_coder import DeltaBoxCoder

OPTIONS = dict(target_means=(0.0, 0.1, 0.0, -0.1), target_stds=(0.1, 0.1, 0.2, 0.2))
BOXES = torch.tensor([[0.0, 0.0, 10.0, 20.0], [30.0, 5.0, 90.0, 65.0]])


@pytest.mark.parametrize('classes', [1, 3])
@pytest.mark.parametrize('max_shape', [None, (40, 50), (40, 50, 3)])
def test_equals_mmdets(classes, max_shape):
    deltas = torch.randn(2, 4 * classes, generator=torch.Generator().manual_seed(0)) * 9
    ours, theirs = DeltaBoxCoder(**OPTIONS), DeltaXYWHBBoxCoder(**OPTIONS)
    assert torch.equal(
        ours.decode(BOXES, deltas, max_shape=max_shape),
        theirs.decode(BOXES, deltas, max_shape=max_shape),
    )
    targets = BOXES.flip(0)
    assert torch.equal(ours.encode(BOXES, targets), theirs.encode(BOXES, targets))


def test_clips_only_where_asked():
    coder = DeltaBoxCoder(clip_border=False)
    nothing = torch.zeros(2, 4)
    assert torch.equal(coder.decode(BOXES, nothing, max_shape=(8, 8)), BOXES)


def test_box_types_go_in_and_out():
    coder = DeltaBoxCoder(use_box_type=True)
    decoded = coder.decode(HorizontalBoxes(BOXES), torch.zeros(2, 4))
    assert isinstance(decoded, HorizontalBoxes)
    assert torch.equal(decoded.tensor, BOXES)


def test_no_boxes():
    coder = DeltaBoxCoder()
    assert coder.decode(torch.zeros(0, 4), torch.zeros(0, 12)).shape == (0, 12)
    assert coder.encode(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)


def test_takes_the_place_of_mmdets_own_only():
    mine = DeltaBoxCoder.of(DeltaXYWHBBoxCoder(**OPTIONS, clip_border=False))
    assert type(mine) is DeltaBoxCoder
    assert (mine.means, mine.stds) == tuple(OPTIONS.values())
    assert mine.clip_border is False
    for other in (
        DeltaXYWHBBoxCoderForGLIP(),
        DeltaXYWHBBoxCoder(add_ctr_clamp=True),
        mine,
    ):
        assert DeltaBoxCoder.of(other) is other
