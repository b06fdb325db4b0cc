"""Which pictures are equal or nearly equal, told from small grey copies of them.

Frames of one video, bursts, and copies saved anew or in another size differ little in a
copy of 32x32 pixels. Candidates share a part of a hash of it (the signs of its
horizontal differences, after Krawetz's dHash), so that not every pair is looked at;
and are alike if their copies then differ by no more than `MEAN` and `MOST`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from mmfrcnn.cores import usable_cores

SIDE = 32
MEAN, MOST = 3.0, 60.0
"""Grey levels of 255 by which alike copies differ on average, and at one pixel."""
PARTS = 16
"""Parts of the hash: what differs in fewer bits than these shares one of them."""


def thumbnails(images: Sequence[Path]) -> np.ndarray:
    """Return grey copies of 32x32 pixels, uint8 (N, 32, 32); black where unreadable."""
    # OpenCV works without Python's lock, so threads use all cores.
    with ThreadPoolExecutor(usable_cores()) as pool:
        copies = pool.map(_thumbnail, images)
        shown = tqdm(copies, 'comparing images', len(images), delay=3, unit='image')
        return np.array(list(shown), np.uint8).reshape(-1, SIDE, SIDE)


def _thumbnail(path: Path) -> np.ndarray:
    content = np.fromfile(path, np.uint8)
    # A JPEG is decoded at an eighth of its size, which is enough of a photo.
    is_jpeg = path.suffix.lower() in ('.jpg', '.jpeg', '.jfif')
    image = _decoded(content, cv2.IMREAD_REDUCED_GRAYSCALE_8) if is_jpeg else None
    if image is None or min(image.shape) < 2 * SIDE:
        image = _decoded(content, cv2.IMREAD_GRAYSCALE)
    if image is None:
        return np.zeros((SIDE, SIDE), np.uint8)
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _decoded(content: np.ndarray, flag: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(content, flag)
    except cv2.error:  # nothing in it
        return None


def alike(copies: np.ndarray) -> np.ndarray:
    """Return the number of the group of each copy, int (N,); alike ones share it.

    Args:
        copies (np.ndarray): Grey copies, uint8 (N, 32, 32).
    """
    number: dict[bytes, int] = {}
    which = [number.setdefault(copy.tobytes(), len(number)) for copy in copies]
    distinct = np.frombuffer(b''.join(number), np.uint8).reshape(-1, SIDE * SIDE)
    pairs = [pair for key in _keys(distinct) for pair in _alike_in(distinct, key)]
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array(
        (np.ones(len(rows), bool), (rows, columns)), (len(distinct), len(distinct))
    )
    return connected_components(graph, directed=False)[1][np.array(which, int)]


def _keys(copies: np.ndarray) -> Iterable[np.ndarray]:
    """Yield a number for each copy (N, 1024), for each part of the hashes."""
    images = copies.reshape(-1, SIDE, SIDE).astype(np.float32)
    small = images.reshape(-1, 16, 2, 16, 2).mean((2, 4))  # 16 x 16
    brighter = small > np.roll(small, 1, axis=2)  # 256 bits
    bits = brighter.reshape(-1, PARTS, 256 // PARTS)
    for part in range(PARTS):
        yield np.packbits(bits[:, part], axis=1).view(np.uint16)[:, 0]


def _alike_in(copies: np.ndarray, keys: np.ndarray) -> Iterable[tuple[int, int]]:
    """Yield pairs of copies that have one key and differ little.

    Of many with one key each is compared with its nearest in brightness alone, as alike
    ones are, so that flat pictures, which share a key by chance, cost no square.
    """
    mean = copies.mean(1)
    order = np.lexsort((mean, keys))
    for step in range(1, 9):
        first, second = order[:-step], order[step:]
        near = (keys[first] == keys[second]) & (abs(mean[first] - mean[second]) <= MEAN)
        first, second = first[near], second[near]
        difference = abs(copies[first].astype(np.int16) - copies[second])
        same = (difference.mean(1) <= MEAN) & (difference.max(1, initial=0) <= MOST)
        yield from zip(first[same].tolist(), second[same].tolist(), strict=True)
