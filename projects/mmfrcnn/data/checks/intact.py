"""Whether an image can be trained on: there, whole, of the size annotated, wide enough.

What is looked at, and what it costs (COCO's pictures, one core): the header of each
image and the end of a JPEG, 11,000 images a second; the checksums of a PNG, 1,900.
Other kinds are decoded, as JPEGs are at 300 a second and PNGs at 100. JPEG has no
checksums, and OpenCV loads one that is damaged inside with wrong pixels and without an
error, so that decoding it would tell no more.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

import cv2
import mmcv
import numpy as np

from mmfrcnn.data.images import image_size, open_header, turned_by_exif
from mmfrcnn.errors import first_of

PNG_START, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND'
PNG_OPTIONAL = 0x20  # set in the first letter of a chunk that a reader may pass over
JPEG_START, JPEG_END, JPEG_SCAN = b'\xff\xd8', b'\xff\xd9', 0xDA
BITS_PER_SAMPLE, SAMPLE_FORMAT, UNSIGNED = 258, 339, 1  # of TIFF

BY_END = 'JPEG by header and end (not decoded)'
BY_CHECKSUMS, BY_DECODING = 'PNG by checksums', 'others decoded'
CUT_OFF = 'it is cut off'
MISSING, BROKEN = 'missing', 'broken'
RESIZED, NARROW = 'not of the size annotated', 'too narrow for the pipeline'
REMEDIES = {
    MISSING: 'Check data_root and data_prefix',
    BROKEN: 'Copy them anew from where they are whole, or take them out of the '
    'annotations',
    RESIZED: 'Annotate the images as they are now, or check that data_root and '
    'data_prefix name the folder of those that were annotated',
    NARROW: 'Cut them up, or take them out of the annotations',
}
Fault = tuple[str, str]
"""A key of `REMEDIES`, and the image with what is wrong with it."""


def describe_faults(
    faults: Iterable[Fault], total: int, remedies: Mapping[str, str] | None = None
) -> str | None:
    """Say in one line for each kind which images it concerns, and what to do about it.

    Args:
        faults (Iterable[Fault]): What was found.
        total (int): The images looked at.
        remedies (Mapping[str, str] | None): Those that differ from `REMEDIES`.

    Returns:
        str | None: The lines, or None if nothing was found.
    """
    lines = []
    for kind, remedy in (REMEDIES | dict(remedies or {})).items():
        named = [text for other, text in faults if other == kind]
        if kind == MISSING and any('\\' in text for text in named):
            remedy = 'Write / in place of \\ in the file names of the annotations'
        elif kind == MISSING and any(Path(unquote(text)).is_file() for text in named):
            remedy = 'Their names are written as in an URL: write a space for %20'
        if named:
            what = f'{len(named)} of {total} images are {kind}'
            lines.append(f'{what}: {first_of(named)}. {remedy}')
    return '\n'.join(lines) or None


def find_fault(
    path: str | Path,
    width: int,
    height: int,
    pipeline: object = None,
    title: str | None = None,
) -> Fault | None:
    """Return why an image can't be trained on as it is annotated, or None.

    Args:
        path (str | Path): The image.
        width (int): As annotated.
        height (int): As annotated.
        pipeline (object): That of the data set, if the image is to be loaded by one.
        title (str | None): How the annotations call the image.
    """
    try:
        found = image_size(path)
        broken = why_undecodable(path)
    except FileNotFoundError:
        return MISSING, str(path)
    except OSError as error:
        broken = str(error)
    where = f'{path} ({title}: ' if title else f'{path} ('
    if broken:
        return BROKEN, f'{where}{broken})'
    if found != (width, height):
        why = ''
        if found == (height, width) and turned_by_exif(path):
            why = (
                ': its EXIF orientation turns it by a quarter when it is loaded, and '
                'the annotations are of the picture before that. Annotate it as it is '
                'shown, or turn the pixels and remove the tag'
            )
        size = f'{found[0]}x{found[1]} pixels, annotated as {width}x{height}'
        return RESIZED, f'{where}{size}{why})'
    scale = vanishing_scale(pipeline, width, height)
    if scale:
        return NARROW, (
            f'{where}{width}x{height} pixels, of which a side vanishes when it is '
            f'resized to {scale[0]}x{scale[1]})'
        )
    return None


def way_to_check(path: str | Path) -> str:
    """Return how it is checked that an image is whole, as the report calls it."""
    with open(path, 'rb') as file:
        start = file.read(8)
    if start == PNG_START:
        return BY_CHECKSUMS
    return BY_END if start.startswith(JPEG_START) else BY_DECODING


def why_undecodable(path: str | Path) -> str | None:
    """Return why an image whose header is good can't be decoded, or None."""
    way = way_to_check(path)
    if way == BY_CHECKSUMS:
        return _fault_of_png(path)
    if way == BY_DECODING:
        whole = _decode(path, cv2.IMREAD_COLOR) is not None
    else:
        with open(path, 'rb') as file:
            file.seek(max(file.seek(0, 2) - 64, 0))
            end = file.read().rstrip(b'\0')
        whole = end.endswith(JPEG_END) or _has_jpeg_end(Path(path).read_bytes())
    return None if whole else CUT_OFF


def _fault_of_png(path: str | Path) -> str | None:
    """Read a PNG's chunks, each of a length, a name, content and their checksum."""
    size = Path(path).stat().st_size
    with open(path, 'rb') as file:
        file.seek(len(PNG_START))
        while len(head := file.read(8)) == 8:
            name = head[4:]
            content = file.read(min(int.from_bytes(head[:4], 'big'), size))
            checksum = file.read(4)
            if len(checksum) < 4:
                break
            found = zlib.crc32(content, zlib.crc32(name)).to_bytes(4, 'big')
            if found != checksum and not name[0] & PNG_OPTIONAL:
                return 'it is damaged: a checksum in it is wrong'
            if name == PNG_END:
                return None
    return CUT_OFF


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
    for transform in _resizing(pipeline):
        for scale in _scales(transform):
            if min(mmcv.rescale_size((width, height), scale)) < 1:
                return scale
    return None


def _resizing(node: object) -> Iterator[object]:
    """Yield the transforms that resize the whole image, inside any wrappers.

    Wrappers hold one pipeline (``RandomApply``, ``TransformBroadcaster``), a list of
    them (``RandomChoice``) or one a name (``MultiBranch``).
    """
    inner = getattr(node, 'branch_pipelines', None) or getattr(node, 'transforms', node)
    inner = inner.values() if isinstance(inner, dict) else inner
    if not isinstance(inner, Iterable):
        if getattr(getattr(node, 'resize', node), 'keep_ratio', False):
            yield node
        return
    for transform in inner:
        if 'Crop' in type(transform).__name__:
            return  # what follows is of another shape
        yield from _resizing(transform)


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
