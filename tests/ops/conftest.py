"""Random boxes, plain ones and awkward ones."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)

# isort: split
import pytest
import torch


@pytest.fixture
def random_boxes():
    """Return a maker of random xyxy boxes, shape (count, 4)."""

    def make(count, generator, *, extent=100.0, grid=None):
        corners = torch.rand(count, 2, 2, generator=generator, dtype=torch.float64)
        corners = corners.sort(dim=1).values * extent
        if grid:
            corners = (corners / grid).round() * grid
        return corners.view(count, 4).float()

    return make


@pytest.fixture(scope='session')
def kernel_device():
    """Return where Triton's kernels run: on the card, else in its interpreter."""
    pytest.importorskip('triton', reason='Triton is not installed')
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
