"""Feature pyramids and regions."""

from __future__ import annotations

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)

# isort: split
import pytest
import torch
from mmengine.registry import init_default_scope

STRIDES = (4, 8, 16, 32)
HEIGHT, WIDTH, CHANNELS, IMAGES = 192, 256, 6, 3


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope('mmdet')


@pytest.fixture
def pyramid():
    """Four random feature maps of three images."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(
            IMAGES, CHANNELS, HEIGHT // stride, WIDTH // stride, generator=generator
        )
        for stride in STRIDES
    ]


def regions(*boxes, image=0):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    return torch.cat([torch.full((len(boxes), 1), float(image)), boxes], 1)


@pytest.fixture
def rois():
    """Plain regions of every size, and awkward ones, shape (K, 5)."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(80, 2, 2, generator=generator).sort(dim=1).values
    boxes = (corners * torch.tensor([WIDTH, HEIGHT])).view(80, 4)
    image = torch.randint(0, IMAGES, (80, 1), generator=generator).float()
    awkward = regions(
        [0, 0, WIDTH, HEIGHT],  # everything
        [10, 10, 10, 10],  # a point
        [10, 10, 11, 11],  # one pixel
        [20, 30, 20, 90],  # no width
        [5, 40, 250, 41],  # very long
        [-30, -20, 15, 12],  # across the border
        [WIDTH - 5, HEIGHT - 5, WIDTH + 90, HEIGHT + 70],
        [-90, -90, -40, -40],  # outside
        [WIDTH + 10, 0, WIDTH + 90, 60],
        [-300, -300, 600, 500],  # larger than the image
        [0, 0, 112, 112],  # the sizes where the level changes
        [0, 0, 111.99, 112],
        [0, 0, 224, 224],
        [0, 0, 448, 448],
        [0, 0, 447.9, 447.9],
        image=1,
    )
    return torch.cat([torch.cat([image, boxes], 1), awkward])
