"""Pictures that are alike: beside brute force over all pairs, and in real kinds."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmfrcnn.data.discovery.alike import MEAN, MOST, alike, thumbnails


def photo(seed: int, side: int = 240) -> np.ndarray:
    """Return an image with coarse and fine structure."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (side * 4 // 3, side), interpolation=cv2.INTER_CUBIC)
    fine = random.integers(-8, 9, image.shape)
    return np.clip(image.astype(int) + fine, 0, 255).astype(np.uint8)


def brute_force(copies: np.ndarray) -> list[set[int]]:
    """Return the groups by comparing every pair."""
    owner = list(range(len(copies)))
    for i in range(len(copies)):
        for j in range(i):
            difference = np.abs(copies[i].astype(int) - copies[j])
            if difference.mean() <= MEAN and difference.max() <= MOST:
                old, new = owner[i], owner[j]
                owner = [new if one == old else one for one in owner]
    return [{i for i, one in enumerate(owner) if one == name} for name in set(owner)]


def groups_of(numbers: np.ndarray) -> list[set[int]]:
    return [set(np.flatnonzero(numbers == one)) for one in np.unique(numbers)]


def as_sets(groups: list[set[int]]) -> set[frozenset[int]]:
    return {frozenset(int(i) for i in group) for group in groups}


@pytest.mark.parametrize('noise', [0, 1, 3, 6, 12])
def test_equals_all_pairs(noise):
    random = np.random.default_rng(noise)
    coarse = random.integers(0, 256, (30, 8, 8), dtype=np.uint8)
    base = np.stack([cv2.resize(one, (32, 32)) for one in coarse])
    more = base[random.integers(0, 30, 60)].astype(int)
    more = more + random.integers(-noise, noise + 1, more.shape)
    copies = np.concatenate([base, np.clip(more, 0, 255).astype(np.uint8)])
    assert as_sets(groups_of(alike(copies))) == as_sets(brute_force(copies))


def test_copies_frames_and_others(tmp_path: Path):
    image = photo(0)
    near = image.copy()
    near[100:110, 100:110] //= 2  # a frame later, something small has moved
    brighter = np.clip(image.astype(int) + 60, 0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / '0.png'), image)
    cv2.imwrite(str(tmp_path / '1.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(tmp_path / '2.png'), cv2.resize(image, (200, 150)))
    cv2.imwrite(str(tmp_path / '3.png'), near)
    cv2.imwrite(str(tmp_path / '4.png'), image[:, ::-1])
    cv2.imwrite(str(tmp_path / '5.png'), photo(1))
    cv2.imwrite(str(tmp_path / '6.png'), brighter)
    copies = thumbnails(sorted(tmp_path.iterdir()))
    assert as_sets(groups_of(alike(copies))) == as_sets([{0, 1, 2, 3}, {4}, {5}, {6}])


def test_one_thing_on_an_empty_background_tells_pictures_apart(tmp_path: Path):
    for number, x in enumerate((10, 90, 170)):
        image = np.full((240, 320), 250, np.uint8)
        image[100:160, x : x + 60] = 40
        cv2.imwrite(str(tmp_path / f'{number}.png'), image)
    copies = thumbnails(sorted(tmp_path.iterdir()))
    assert len(set(alike(copies).tolist())) == 3


def test_no_image_one_and_a_broken_one(tmp_path: Path):
    assert alike(thumbnails([])).tolist() == []
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    copies = thumbnails([tmp_path / 'broken.jpg'])
    assert copies.shape == (1, 32, 32) and not copies.any()
    assert alike(copies).tolist() == [0]


def test_thousands_of_flat_pictures_cost_no_square():
    """All pairs of 20,000 would take minutes."""
    random = np.random.default_rng(0)
    copies = np.full((20_000, 32, 32), 240, np.uint8)
    copies[:, 16, 16] = random.integers(0, 256, len(copies))
    begin = time.perf_counter()
    alike(copies)
    assert time.perf_counter() - begin < 10
