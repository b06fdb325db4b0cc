"""Picture files, as the checks before a training and a detector read them."""

from __future__ import annotations

import io
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmfrcnn.data.checks.intact import find_fault, has_16_bits, way_to_check
from mmfrcnn.data.discovery.alike import _thumbnail
from mmfrcnn.data.images import (
    UnreadableImageError,
    decode_image,
    image_size,
    turned_by_exif,
)
from tests.fuzz.reader import NoOpinionError, Reader
from tests.fuzz.texts import changed_bytes, put

KINDS = ('PNG', 'JPEG', 'BMP', 'GIF', 'TIFF', 'WEBP')


@cache
def _valid(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 1
    Image.fromarray(pixels).save(stream, kind, exif=exif)
    return stream.getvalue()


def write(rng: Random, folder: Path) -> bool:
    """Write a picture of some kind."""
    content = _valid(rng.choice(KINDS))
    kind = rng.random()
    if kind > 0.1:
        content = (
            changed_bytes(rng, content[:200], rng.choice([1, 1, 2, 4])) + content[200:]
        )
    elif kind > 0.05:
        content = content[: rng.randrange(len(content))]
    put(rng, folder / 'a.png', content, kind < 0.05)
    return False


def read(folder: Path) -> Any:
    """Ask all that is asked of a picture; what is none is said, not raised."""
    path = folder / 'a.png'
    fault = find_fault(path, 40, 30)
    try:
        image_size(path)
        turned_by_exif(path)
        way_to_check(path)
        has_16_bits(path)
    except OSError:
        assert fault is not None
    if path.is_file():
        with suppress(UnreadableImageError):
            decode_image(path.read_bytes())
        _thumbnail(path)
    return fault is None


def reference(folder: Path) -> Any:
    """Decode it: what cannot be is faulty; JPEG is not decoded by the checks."""
    if not (folder / 'a.png').is_file():
        return False
    content = (folder / 'a.png').read_bytes()
    if content[:2] == b'\xff\xd8':
        raise NoOpinionError
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return False
    if image is None:
        return False
    raise NoOpinionError


def prepare(folder: Path) -> None:
    """Have OpenCV say nothing of each damaged file."""
    cv2.utils.logging.setLogLevel(0)


READERS = [Reader('images', prepare, write, read, reference, 2)]
