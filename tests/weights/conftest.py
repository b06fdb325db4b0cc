from __future__ import annotations

import cv2
import numpy as np
import pytest

import mmfrcnn  # noqa: F401


@pytest.fixture(scope='session')
def picture(tmp_path_factory):
    """Return the path of a drawn JPEG whose sides are no multiples of anything."""
    random = np.random.default_rng(0)
    image = random.integers(60, 140, (9, 13, 3), dtype=np.uint8)
    image = cv2.resize(image, (211, 157), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        x, y = random.integers(0, 150), random.integers(0, 110)
        width, height = random.integers(15, 70, 2)
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        cv2.rectangle(image, (x, y), (x + width, y + height), colour, -1)
    path = tmp_path_factory.mktemp('picture') / 'picture.jpg'
    cv2.imwrite(str(path), image)
    return path
