"""Text files of a data set that is written, and the place of its images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from mmfrcnn.data.formats.pictures import Picture

Images = Callable[[Picture, Path], None]
"""Puts the image of a picture at a path."""


def stem(picture: Picture) -> str:
    """Return the path of a picture's image without its suffix."""
    return picture.title[: -len(Path(picture.title).suffix)]


def write_text(path: Path, text: str) -> None:
    """Write a text file, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of lines, each ended."""
    write_text(path, ''.join(f'{line}\n' for line in lines))
