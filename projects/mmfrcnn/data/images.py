"""Image files: which they are, their pixels, and their size without decoding them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import cv2
import mmcv
import numpy as np
from PIL import Image

from mmfrcnn.errors import UserError

SUFFIXES = (
    *('.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.gif'),
    *('.tif', '.tiff', '.webp'),
)
HEIF = ('.heic', '.heif')
"""Of phones; read by Pillow where the package pillow-heif is installed."""
NOT_READ = (
    *('.avif', '.jxl', '.jp2', '.psd', '.svg'),
    *('.dng', '.cr2', '.cr3', '.nef', '.arw', '.orf', '.rw2'),
)
"""Images that are named, and not read."""
ORIENTATION = 0x0112  # the EXIF tag
QUARTER_TURNS = (5, 6, 7, 8)  # its values that exchange width and height
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of an orientation upright."""
MAX_PIXELS, MAX_SIDE = 1 << 30, 1 << 20
"""What OpenCV decodes at most, unless its environment variables say otherwise."""


HEIF_STARTS = (b'ftypheic', b'ftypheix', b'ftypmif1', b'ftyphevc')


class UnreadableImageError(Exception):
    """An image that can't be decoded."""


def reads_heif() -> bool:
    """Whether the package that reads the pictures of phones is installed."""
    return find_spec('pillow_heif') is not None


def _decode_heif(data: bytes) -> np.ndarray:
    if not reads_heif():
        raise UnreadableImageError(
            'HEIF, which needs the package pillow-heif: pip install pillow-heif'
        )
    import_module('pillow_heif').register_heif_opener()
    try:
        with Image.open(BytesIO(data)) as image:
            colours = np.asarray(upright(image).convert('RGB'))
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImageError(f'broken HEIF: {error}') from error
    return np.ascontiguousarray(colours[..., ::-1])


def decode_image(data: bytes) -> np.ndarray:
    """Return the image of a file's bytes, BGR uint8, shape (H, W, 3).

    It is OpenCV that decodes: an image is turned as its EXIF orientation says, 16 bits
    become 8, and transparency is dropped.

    Raises:
        UnreadableImageError: If it can't be decoded.
    """
    if not data:
        raise UnreadableImageError('an empty file')
    if data[4:12] in HEIF_STARTS:
        return _decode_heif(data)
    try:
        image = mmcv.imfrombytes(data)
    except cv2.error as error:
        reason = 'not an image'
        if 'MAX_IMAGE_PIXELS' in error.err:
            reason = 'more pixels than OPENCV_IO_MAX_IMAGE_PIXELS allows'
        raise UnreadableImageError(reason) from error
    if image is None:
        raise UnreadableImageError('not an image, or cut off')
    return image


def image_size(path: str | Path) -> tuple[int, int]:
    """Return width and height as the loader gives them, from the header alone.

    The loader is OpenCV, which turns an image as its EXIF orientation says.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it is no image, broken, or larger than OpenCV reads.
    """
    with open_header(path) as image:
        width, height = image.size
        turned = _is_turned(image)
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise OSError(f'{width}x{height} pixels: more than OpenCV reads')
    return (height, width) if turned else (width, height)


def turned_by_exif(path: str | Path) -> bool:
    """Whether an image's EXIF orientation exchanges its width and height."""
    with open_header(path) as image:
        if image.format == 'TIFF':
            return image.getexif().get(ORIENTATION) in QUARTER_TURNS
        return _is_turned(image)


@contextmanager
def open_header(path: str | Path) -> Iterator[Image.Image]:
    """Open an image of any size, without decoding it.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it is no image, or its header is broken.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise OSError('not a file')
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # a guard of decoding; nothing is decoded here
    try:
        image = Image.open(path)
    except OSError:
        raise
    except Exception as error:  # a plugin of Pillow's stumbles over a broken header
        raise OSError(f'broken header: {error}') from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def upright(image: Image.Image) -> Image.Image:
    """Turn an open image as its EXIF orientation says, like the loader of files."""
    turn = TURNS.get(_turn(image))
    return image if turn is None else image.transpose(turn)


def _is_turned(image: Image.Image) -> bool:
    return _turn(image) in QUARTER_TURNS


def _turn(image: Image.Image) -> int:
    """Return the orientation by which OpenCV would turn what Pillow has opened."""
    if image.format == 'TIFF':  # Pillow has turned it already
        return 1
    if image.format == 'AVIF':  # OpenCV does not turn it
        return 1
    return _orientation(image.info.get('exif') or b'')  # pillow-heif's may be None


def _orientation(exif: bytes) -> int:
    """Return the orientation of a block of EXIF, read as OpenCV reads it.

    OpenCV takes the first two bytes of the value for a number, whatever type the tag
    has, and looks into no other place (XMP) than this.
    """
    exif = exif.removeprefix(b'Exif\0\0')
    order = {b'II': '<', b'MM': '>'}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    (start,) = struct.unpack_from(f'{order}I', exif, 4)
    if start + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(f'{order}H', exif, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if place + 10 > len(exif):
            return 1
        tag, value = struct.unpack_from(f'{order}H6xH', exif, place)
        if tag == ORIENTATION:
            return value
    return 1


def known_size(path: Path, what: str) -> tuple[int, int]:
    """Return an image's size, or say what it was wanted for.

    Raises:
        UserError: If there is no such image, or it is broken.
    """
    try:
        return image_size(path)
    except FileNotFoundError as error:
        raise UserError(f'{what}: no such image: {path}') from error
    except OSError as error:
        raise UserError(f'{what}: broken image: {path} ({error})') from error


def decodable() -> tuple[str, ...]:
    """Return the suffixes of the files that `decode_image` reads here."""
    return (*SUFFIXES, *HEIF) if reads_heif() else SUFFIXES


def find_images(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """List the images below a folder, sorted.

    Args:
        folder (Path): The folder.
        suffixes (tuple[str, ...]): Of what counts as one, in lower case; by default of
            what training reads.

    Raises:
        UserError: If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f'no such folder of images: {folder}')
    found = [path for path in folder.rglob('*') if path.suffix.lower() in suffixes]
    if not found:
        raise UserError(f'no images in {folder} (looked for {", ".join(suffixes)})')
    return sorted(found)


def with_suffix(folder: Path, name: str) -> Path:
    """Return the image of a name; where there is none, the name it should have."""
    endings = [*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)]
    candidates = [folder / f'{name}{ending}' for ending in endings]
    return next((path for path in candidates if os.path.isfile(path)), candidates[0])
