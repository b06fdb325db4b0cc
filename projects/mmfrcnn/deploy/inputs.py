"""What an image may be, and how it becomes the array that the test pipeline takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmfrcnn.data.images import UnreadableImageError, decode_image, upright
from mmfrcnn.errors import UserError

ONE_IMAGE = (str, Path, bytes, bytearray, Image.Image, np.ndarray, Tensor)
"""Types of one image; a path may also be that of a folder."""

CHANNELS = ('rgb', 'bgr')


@dataclass(frozen=True, eq=False)
class Given:
    """An image as it was given, read when it is wanted.

    Args:
        image (Any): One of `ONE_IMAGE`.
        channels (str | None): ``rgb`` or ``bgr``: the order in an array.
        name (str): What it is called in messages, unless it has a path.
    """

    image: Any
    channels: str | None
    name: str

    @property
    def path(self) -> str | None:
        """Its file, if it is one."""
        return str(self.image) if isinstance(self.image, str | Path) else None

    def read(self) -> np.ndarray:
        """Return its pixels, BGR uint8, shape (H, W, 3), turned as EXIF says.

        Raises:
            UserError: If it can't be read, or is no image, naming it.
        """
        try:
            return _pixels(self.image, self.channels)
        except UnreadableImageError as error:
            raise UserError(f'{self.path or self.name}: {error}') from error


def _pixels(image: Any, channels: str | None) -> np.ndarray:
    if isinstance(image, str | Path):
        return _of_file(image)
    if isinstance(image, bytes | bytearray):
        return decode_image(bytes(image))
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if isinstance(image, np.ndarray):
        return _of_array(image, channels)
    if isinstance(image, Tensor):
        return _of_tensor(image)
    raise UnreadableImageError(
        f'a {type(image).__name__} is no image: give a path, the bytes of a file, a '
        'PIL image, a numpy array or a tensor'
    )


def _of_file(path: str | Path) -> np.ndarray:
    if '://' in str(path):
        raise UnreadableImageError(
            'an address, and nothing is fetched: download it and give its path or bytes'
        )
    try:
        data = Path(path).expanduser().read_bytes()
    except FileNotFoundError as error:
        raise UnreadableImageError('no such image') from error
    except (OSError, ValueError) as error:
        raise UnreadableImageError(getattr(error, 'strerror', 0) or error) from error
    return decode_image(data)


def _of_pillow(image: Image.Image) -> np.ndarray:
    try:
        image.load()  # Pillow reads a file's pixels, and all of its EXIF, only now
        image = upright(image)
        if image.mode.startswith('I;16'):  # the upper 8 bits, as of a file
            return _of_array((np.asarray(image) >> 8).astype(np.uint8), None)
        if image.mode in ('I', 'F'):
            raise ValueError('its range is not known: scale it to uint8')
        colours = np.asarray(image.convert('RGB'))
    except (OSError, ValueError, SyntaxError) as error:
        reason = f'a PIL image of mode {image.mode}: {error}'
        raise UnreadableImageError(reason) from error
    return _of_array(colours, 'rgb')


def _of_array(array: np.ndarray, channels: str | None) -> np.ndarray:
    shape = array.shape
    if array.dtype != np.uint8:
        raise UnreadableImageError(f'an array of {array.dtype}: give uint8, 0 to 255')
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (3, 4)):
        raise UnreadableImageError(
            f'an array of the shape {shape}: give (H, W), (H, W, 3) or (H, W, 4), and '
            'several images as a list'
        )
    if not array.size:
        raise UnreadableImageError(f'an array of the shape {shape}: no pixels')
    if len(shape) == 2:
        return cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_GRAY2BGR)
    if channels is None:
        raise UnreadableImageError(
            "an array of colours may be RGB or BGR: say channels='rgb' (PIL, imageio, "
            "matplotlib) or channels='bgr' (OpenCV, mmcv)"
        )
    colours = array[..., :3]  # without transparency, as of a file
    return np.ascontiguousarray(colours if channels == 'bgr' else colours[..., ::-1])


def _of_tensor(tensor: Tensor) -> np.ndarray:
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise UnreadableImageError(
            f'a tensor of the shape {tuple(tensor.shape)}: give (3, H, W), RGB, and '
            'several images as a list'
        )
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point() and tensor.numel():
        if not (tensor.min() >= 0 and tensor.max() <= 1):  # a NaN is neither
            raise UnreadableImageError(
                'a tensor of floats that are not from 0 to 1: give those, or uint8'
            )
        tensor = (tensor.float() * 255).round().to(torch.uint8)
    if tensor.dtype != torch.uint8:
        raise UnreadableImageError(
            f'a tensor of {tensor.dtype}: give uint8, or floats from 0 to 1'
        )
    return _of_array(tensor.permute(1, 2, 0).numpy(), 'rgb')
