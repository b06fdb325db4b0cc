"""Priors, ground truths and ignored regions, plain and hostile."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)

# isort: split
import pytest
import torch
from mmengine.registry import init_default_scope


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope('mmdet')


@pytest.fixture
def random_boxes():
    """Return a maker of xyxy boxes (count, 4); a grid makes IoUs tie."""

    def make(count, generator, *, extent=100.0, grid=None):
        corners = torch.rand(count, 2, 2, generator=generator)
        corners = corners.sort(dim=1).values * extent
        if grid:
            corners = (corners / grid).round() * grid
        return corners.reshape(count, 4)

    return make
