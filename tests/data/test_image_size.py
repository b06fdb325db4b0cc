"""Sizes of images from their headers, against what OpenCV decodes."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mmfrcnn.data.images import MAX_PIXELS, image_size, turned_by_exif

KINDS = {'JPEG': 'jpg', 'PNG': 'png', 'WEBP': 'webp', 'TIFF': 'tif'}
BYTE, TEXT, SHORT, LONG = (1, 'B'), (2, '2s'), (3, 'H'), (4, 'I')


def decoded_size(path: Path) -> tuple[int, int]:
    """Decode as mmcv does."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    return image.shape[1], image.shape[0]


def exif(value, kind=SHORT, order='<') -> bytes:
    """Write EXIF with the orientation alone."""
    number, form = kind
    head = (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(f'{order}IH', 8, 1)
    field = struct.pack(f'{order}{form}', value).ljust(4, b'\0')
    entry = struct.pack(f'{order}HHI', 0x0112, number, 2 if kind is TEXT else 1) + field
    return b'Exif\0\0' + head + entry + bytes(4)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('value', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100])
def test_turned_as_the_loader_turns(tmp_path, kind, value):
    path = tmp_path / f'a.{KINDS[kind]}'
    tags = Image.Exif()
    tags[0x0112] = value
    Image.new('RGB', (40, 30)).save(path, kind, exif=tags)
    assert image_size(path) == decoded_size(path)
    assert turned_by_exif(path) == (value in (5, 6, 7, 8))


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize(
    ('value', 'kind'),
    [(6, BYTE), (b'6\0', TEXT), (b'\x06\0', TEXT), (6, SHORT), (6, LONG)],
)
def test_orientation_of_any_type_is_read_as_the_loader_reads_it(
    tmp_path, value, kind, order
):
    for form in ('JPEG', 'PNG', 'WEBP'):
        path = tmp_path / f'a.{KINDS[form]}'
        Image.new('RGB', (40, 30)).save(path, form, exif=exif(value, kind, order))
        assert image_size(path) == decoded_size(path)


@pytest.mark.parametrize('cut', range(0, 32, 3))
def test_broken_exif_turns_nothing(tmp_path, cut):
    path = tmp_path / 'a.jpg'
    Image.new('RGB', (40, 30)).save(path, exif=exif(6)[: 6 + cut])
    assert image_size(path) == decoded_size(path)


def test_an_orientation_in_xmp_is_passed_over_as_by_the_loader(tmp_path):
    path = tmp_path / 'a.png'
    info = PngImagePlugin.PngInfo()
    info.add_itxt('XML:com.adobe.xmp', '<x tiff:Orientation="6"/>')
    Image.new('RGB', (40, 30)).save(path, pnginfo=info)
    assert image_size(path) == decoded_size(path) == (40, 30)


def test_sizes_beyond_pillows_limit_are_read(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('1', (20000, 10000)).save(path)  # Pillow itself refuses 179 megapixels
    limit = Image.MAX_IMAGE_PIXELS
    assert image_size(path) == (20000, 10000)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_what_opencv_does_not_read_is_refused(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('1', (8, 8)).save(path)
    raw = bytearray(path.read_bytes())
    raw[16:24] = struct.pack('>II', MAX_PIXELS // 1024, 1025)
    path.write_bytes(raw)
    with pytest.raises(OSError):  # of the checksum, or the size
        image_size(path)


def test_what_is_no_image_is_an_oserror(tmp_path):
    path = tmp_path / 'a.jpg'
    path.write_bytes(b'GIF89a')
    with pytest.raises(OSError, match=r'image|header'):
        image_size(path)
    with pytest.raises(FileNotFoundError):
        image_size(tmp_path / 'none.jpg')
