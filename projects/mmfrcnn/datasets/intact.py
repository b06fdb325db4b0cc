"""Whether an image can be trained on: of the size annotated, whole, not too narrow."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import mmcv
import numpy as np

from mmfrcnn.datasets.images import image_size, open_header, turned_by_exif

PNG_START, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xae\x42\x60\x82'
JPEG_START, JPEG_END, JPEG_SCAN = b'\xff\xd8', b'\xff\xd9', 0xDA
BITS_PER_SAMPLE, SAMPLE_FORMAT, UNSIGNED = 258, 339, 1  # of TIFF


def why_unusable(
    path: str | Path, width: int, height: int, pipeline: object = None
) -> str | None:
    """Return why an image can't be trained on as it is annotated, or None.

    Args:
        path (str | Path): The image.
        width (int): As annotated.
        height (int): As annotated.
        pipeline (object): That of the data set, if the image is to be loaded by one.

    Raises:
        FileNotFoundError: If there is no such image.
    """
    try:
        found = image_size(path)
        fault = why_undecodable(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        return str(error)
    if fault:
        return fault
    if found != (width, height):
        why = ''
        if found == (height, width) and turned_by_exif(path):
            why = (
                ': its EXIF orientation turns it by a quarter when it is loaded, and '
                'the annotations are of the picture before that. Annotate it as it is '
                'shown, or turn the pixels and remove the tag'
            )
        return f'{found[0]}x{found[1]} pixels, annotated as {width}x{height}{why}'
    scale = vanishing_scale(pipeline, width, height)
    if scale:
        return (
            f'{width}x{height} pixels, of which a side vanishes when it is resized to '
            f'{scale[0]}x{scale[1]}. Cut it up or leave it out'
        )
    return None


def why_undecodable(path: str | Path) -> str | None:
    """Return why an image whose header is good can't be decoded, or None.

    JPEG and PNG have a marker at their end, so that they are not decoded; images of
    other kinds are.
    """
    with open(path, 'rb') as file:
        start = file.read(26)
        file.seek(0, 2)
        file.seek(max(file.tell() - 64, 0))
        end = file.read().rstrip(b'\0')
    if start.startswith(PNG_START):
        whole = PNG_END in end or PNG_END in Path(path).read_bytes()
    elif start.startswith(JPEG_START):
        whole = end.endswith(JPEG_END) or _has_jpeg_end(Path(path).read_bytes())
    else:
        whole = _decode(path, cv2.IMREAD_COLOR) is not None
    return None if whole else 'it is cut off'


def _has_jpeg_end(content: bytes) -> bool:
    """Look for the end behind the header, in which a preview has an end of its own."""
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        if content[place + 1] == 0xFF:  # filling
            place += 1
            continue
        if content[place + 1] == JPEG_SCAN:
            return JPEG_END in content[place:]
        place += 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
    return False


def has_16_bits(path: str | Path) -> bool:
    """Whether an image is a PNG or TIFF of 16 bits a channel, by its header."""
    with open(path, 'rb') as file:
        start = file.read(26)
    if start.startswith(PNG_START):
        return start[24] == 16
    if start[:4] not in (b'II*\0', b'MM\0*'):
        return False
    with open_header(path) as image:
        tags = image.tag_v2  # type: ignore[attr-defined]  # of TIFF alone
        bits, kinds = tags.get(BITS_PER_SAMPLE), tags.get(SAMPLE_FORMAT)
    return set(bits or ()) == {16} and set(kinds or (UNSIGNED,)) == {UNSIGNED}


def highest_values(path: str | Path) -> tuple[int, int]:
    """Return an image's highest value as stored and as loaded, 0 if it can't be."""
    images = (_decode(path, f) for f in (cv2.IMREAD_UNCHANGED, cv2.IMREAD_COLOR))
    stored, loaded = (0 if image is None else int(image.max()) for image in images)
    return stored, loaded


def vanishing_scale(
    pipeline: object, width: int, height: int
) -> tuple[int, int] | None:
    """Return the scale of a pipeline that leaves a side of no pixel, or None.

    Args:
        pipeline (object): A data set's pipeline, with its ``transforms``.
        width (int): Of the image.
        height (int): Of the image.
    """
    for transform in getattr(pipeline, 'transforms', ()):
        resize = getattr(transform, 'resize', transform)
        if not getattr(resize, 'keep_ratio', False):
            continue
        for scale in _scales(transform):
            if min(mmcv.rescale_size((width, height), scale)) < 1:
                return scale
    return None


def _scales(transform: object) -> Iterable[tuple[int, int]]:
    """Return the scales of a resizing transform, the smallest where it draws them."""
    scales = getattr(transform, 'scales', None) or [getattr(transform, 'scale', None)]
    smallest = min(getattr(transform, 'ratio_range', None) or (1,))
    for scale in scales:
        if isinstance(scale, tuple) and all(isinstance(s, int | float) for s in scale):
            yield int(scale[0] * smallest), int(scale[1] * smallest)


def _decode(path: str | Path, flag: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.fromfile(path, np.uint8), flag)
    except cv2.error:
        return None
