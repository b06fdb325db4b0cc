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


@pytest.fixture
def hostile_boxes(random_boxes):
    """Return a maker of boxes of which many are none: NaN, infinite, inverted, flat."""
    awkward = [float('nan'), float('inf'), -float('inf')]
    awkward += [0.0, 3e38, -3e38, 1e20, 1e-20, 1e-38, 1e-45]

    def make(count, generator, *, share=0.06, grid=None):
        boxes = random_boxes(count, generator, grid=grid)
        inverted = torch.rand(count, 1, generator=generator) < share
        boxes = torch.where(inverted, boxes.roll(2, 1), boxes)
        chosen = torch.randint(0, len(awkward), boxes.shape, generator=generator)
        hit = torch.rand(boxes.shape, generator=generator) < share
        return torch.where(hit, torch.tensor(awkward)[chosen], boxes)

    return make


@pytest.fixture(scope='session')
def kernel_device():
    """Return where Triton's kernels run: on the card, else in its interpreter."""
    pytest.importorskip('triton', reason='Triton is not installed')
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
