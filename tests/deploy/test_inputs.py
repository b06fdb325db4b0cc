"""Whatever an image is given as, it is the same pixels; what is none is refused."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmfrcnn.data.images import decode_image
from mmfrcnn.deploy.inputs import Given
from mmfrcnn.errors import UserError

BGR = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
RGB = BGR[..., ::-1]
ALPHA = np.full((5, 7, 1), 128, np.uint8)
PNG = cv2.imencode('.png', BGR)[1].tobytes()
TENSOR = torch.from_numpy(RGB.copy()).permute(2, 0, 1)


def read(image, channels=None):
    pixels = Given(image, channels, 'the image').read()
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    return pixels


@pytest.mark.parametrize(
    ('image', 'channels'),
    [
        (PNG, None),
        (bytearray(PNG), None),
        (Image.fromarray(RGB), None),
        (Image.open(io.BytesIO(PNG)), None),
        (Image.fromarray(RGB).convert('RGBA'), None),
        (Image.fromarray(np.concatenate([RGB, ALPHA], 2)), None),
        (BGR, 'bgr'),
        (RGB, 'rgb'),
        (np.asfortranarray(RGB), 'rgb'),
        (np.concatenate([BGR, ALPHA], 2), 'bgr'),
        (np.concatenate([RGB, ALPHA], 2), 'rgb'),
        (TENSOR, None),
        (TENSOR.float() / 255, None),
        (TENSOR.double() / 255, None),
        ((TENSOR.float() / 255).requires_grad_(), None),
    ],
)
def test_colours(image, channels):
    assert read(image, channels).tolist() == BGR.tolist()


def test_a_path(tmp_path):
    path = tmp_path / 'a.anything'
    path.write_bytes(PNG)
    for given in (path, str(path)):
        assert read(given).tolist() == BGR.tolist()
        assert Given(given, None, '').path == str(path)


def test_what_is_given_stays_as_it_is():
    before = BGR.copy()
    read(BGR, 'bgr')[:] = 0
    assert BGR.tolist() == before.tolist() or not np.shares_memory(before, BGR)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'PA', 'I;16', 'RGBA', 'CMYK'])
def test_modes_of_pillow_as_the_loader_reads_their_files(mode):
    if mode == 'I;16':
        image = Image.fromarray(np.arange(35, dtype=np.uint16).reshape(5, 7) * 1800)
    elif mode == 'PA':
        image = Image.fromarray(RGB).convert('P').convert('PA')
    else:
        image = Image.fromarray(RGB).convert(mode)
    assert image.mode == mode
    if mode in ('CMYK', 'PA'):  # no PNG of these; Pillow's own conversion
        expected = np.asarray(image.convert('RGB'))[..., ::-1]
    else:
        file = io.BytesIO()
        image.save(file, 'PNG')
        expected = decode_image(file.getvalue())
    assert read(image).tolist() == expected.tolist()


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'JPEG', 'WEBP'])
@pytest.mark.parametrize('value', range(10))
def test_pillow_images_are_turned_as_files_are(kind, value):
    tags = Image.Exif()
    tags[0x0112] = value
    # Four flat corners: what is lost in compression does not matter.
    corners = np.array([[0, 80], [160, 240]], np.uint8).repeat(24, 0).repeat(16, 1)
    file = io.BytesIO()
    Image.fromarray(np.stack([corners] * 3, 2)).save(file, kind, exif=tags)
    expected = decode_image(file.getvalue())
    found = read(Image.open(file))
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() < 5
    turned = Image.open(file)
    turned.load()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        from PIL import ImageOps

        again = ImageOps.exif_transpose(turned)  # what many programs do first
    assert np.abs(read(again).astype(int) - expected).max() < 5


def test_gray():
    gray = BGR[..., 0]
    for given in (gray, gray.T.copy().T, Image.fromarray(gray.copy())):
        assert read(given).tolist() == np.stack([gray] * 3, 2).tolist()


class Odd:
    """No image."""


@pytest.mark.parametrize(
    ('image', 'channels', 'message'),
    [
        (BGR, None, r"may be RGB or BGR: say channels='rgb'"),
        (BGR.astype(float), 'rgb', r'an array of float64: give uint8'),
        (BGR.astype(np.uint16), 'rgb', r'an array of uint16'),
        (BGR[None], 'rgb', r'shape \(1, 5, 7, 3\): .*several images as a list'),
        (BGR[..., :2], 'rgb', r'shape \(5, 7, 2\)'),
        (BGR[:0], 'rgb', r'shape \(0, 7, 3\): no pixels'),
        (np.zeros((0, 0), np.uint8), None, r'no pixels'),
        (np.uint8(3), None, r'a uint8 is no image'),
        (np.array(None), None, r'an array of object'),
        (TENSOR[None], None, r'a tensor of the shape \(1, 3, 5, 7\)'),
        (TENSOR.permute(1, 2, 0), None, r'a tensor of the shape \(5, 7, 3\)'),
        (TENSOR.float(), None, r'floats that are not from 0 to 1'),
        (TENSOR.float() * torch.nan, None, r'floats that are not from 0 to 1'),
        (TENSOR.int(), None, r'a tensor of torch\.int32'),
        (TENSOR[:, :0].float(), None, r'a tensor of torch\.float32|no pixels'),
        (b'', None, r'an empty file'),
        (PNG[:40], None, r'not an image, or cut off'),
        ('http://127.0.0.1/a.png', None, r'an address, and nothing is fetched'),
        ('missing.png', None, r'^missing\.png: no such image'),
        ('/', None, r'^/: Is a directory'),
        ('a\0b', None, r'null'),
        (Image.new('F', (3, 3)), None, r'mode F: its range is not known'),
        (Image.new('I', (3, 3)), None, r'mode I: its range is not known'),
        (Image.open(io.BytesIO(PNG[:-30])), None, r'a PIL image of mode RGB'),
        (Odd(), None, r'a Odd is no image: give a path'),
    ],
)
def test_refusals(image, channels, message):
    with pytest.raises(UserError, match=message) as refused:
        read(image, channels)
    text = str(refused.value)
    assert '\n' not in text
    # What cannot be printed is escaped.
    named = repr(image)[1:-1] if isinstance(image, str) else 'the image: '
    assert text.startswith(named)
