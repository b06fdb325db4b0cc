"""What to predict on: an image, a folder of images, or a video."""

from __future__ import annotations

from pathlib import Path

import mmcv
import numpy as np

from mmfrcnn.data.images import (
    HEIF,
    NOT_READ,
    SUFFIXES,
    UnreadableImageError,
    decodable,
    decode_image,
    reads_heif,
)
from mmfrcnn.errors import UserError, first_of

VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')


class Pictures:
    """Image files: one, or all those below a folder, in the order of their names.

    Args:
        path (Path): An image file or a folder.

    Attributes:
        passed_over (list[str]): Images of kinds that are not read, by name.
    """

    def __init__(self, path: Path) -> None:
        self.root = path if path.is_dir() else path.parent
        files = sorted(path.rglob('*')) if path.is_dir() else [path]
        read = decodable() if path.is_dir() else (*SUFFIXES, *HEIF)
        self.paths = [f for f in files if f.suffix.lower() in read]
        others = set((*HEIF, *NOT_READ)) - set(read)
        self.passed_over = [
            f.relative_to(self.root).as_posix()
            for f in files
            if f.suffix.lower() in others
        ]
        if not self.paths:
            raise UserError(
                f'{path}: no images here ({", ".join(read)}). {self.about_others()}'
            )

    def about_others(self) -> str:
        """Say which images are passed over, or nothing."""
        if not self.passed_over:
            return ''
        return (
            f'Passed over: {len(self.passed_over)} images of kinds that are not read: '
            f'{first_of(self.passed_over)}. Save them as JPEG or PNG'
            + ' (.heic is read with pip install pillow-heif)'
            * (not reads_heif())
        )

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return the path of an image relative to the folder."""
        return self.paths[index].relative_to(self.root).as_posix()

    def version(self, index: int) -> list[int]:
        """Return what changes when the file does: its size and time of change."""
        status = self.paths[index].stat()
        return [status.st_size, status.st_mtime_ns]

    def read(self, index: int) -> np.ndarray:
        """Return an image, BGR uint8, shape (H, W, 3).

        Raises:
            UnreadableImageError: If it can't be decoded.
        """
        try:
            data = self.paths[index].read_bytes()
        except OSError as error:
            raise UnreadableImageError(error.strerror) from error
        return decode_image(data)


class Video:
    """The frames of a video file.

    Args:
        path (Path): A video file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = mmcv.VideoReader(str(path))
        if not self.reader.opened or len(self.reader) == 0:
            raise UserError(f'{path}: this video cannot be read')
        self.fps = self.reader.fps or 25.0

    def __len__(self) -> int:
        return len(self.reader)

    def name(self, index: int) -> str:
        """Return the name of a frame: ``clip.mp4#12``, counted from 0."""
        return f'{self.path.name}#{index}'

    def version(self, index: int) -> list[int]:
        """Return what changes when the file does: its size and time of change."""
        status = self.path.stat()
        return [status.st_size, status.st_mtime_ns]

    def read(self, index: int) -> np.ndarray:
        """Return a frame, BGR uint8, shape (H, W, 3).

        Raises:
            UnreadableImageError: If it can't be decoded.
        """
        frame = self.reader[index]
        if frame is None:
            raise UnreadableImageError('this frame cannot be decoded')
        return frame


def open_source(path: str) -> Pictures | Video:
    """Open an image, a folder of images or a video.

    Raises:
        UserError: If there is no such file, or it is none of these.
    """
    file = Path(path)
    if not file.exists():
        raise UserError(f'no such image, folder or video: {path}')
    if file.is_dir() or file.suffix.lower() in (*SUFFIXES, *HEIF):
        return Pictures(file)
    if file.suffix.lower() in VIDEOS:
        return Video(file)
    raise UserError(
        f'{path}: neither an image ({", ".join(SUFFIXES)}) nor a video '
        f'({", ".join(VIDEOS)})'
    )
