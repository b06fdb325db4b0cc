"""A tool writes over nothing but what it made itself.

A folder of pictures says so by a mark in it; a file of results, by its beginning, which
is looked at and not read: results may be large, and reading a pickle runs its code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from mmfrcnn.errors import UserError

MARK = '.drawn-pictures'
BEGINNING = 1 << 16
"""So many bytes of a file tell what it is: the first records."""


def check_folder(
    option: str, folder: Path, is_own: Callable[[Path], bool] = lambda folder: False
) -> None:
    """Refuse a folder that holds what no earlier run of a tool made.

    Args:
        option (str): The option that names it.
        folder (Path): It is fine where it is not there, empty, or marked.
        is_own (Callable): Another way to know a folder of the tool's own.

    Raises:
        UserError: If it is a file, or holds anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f'{option} {folder} is a file. Name a folder')
    if not folder.is_dir() or (folder / MARK).is_file() or is_own(folder):
        return
    foreign = sorted(path.name for path in folder.iterdir())
    if foreign:
        raise UserError(
            f'{option} {folder} holds {foreign[0]}, which no earlier run of this tool '
            'made: name an empty folder, or one that it has written'
        )


def mark_folder(folder: Path) -> None:
    """Make a folder, and mark it as one of pictures that a tool may write over."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def check_file(option: str, path: Path, is_own: Callable[[bytes], bool]) -> None:
    """Refuse a file that is there and does not begin as the results of a tool do.

    Args:
        option (str): The option that names it.
        path (Path): It is fine where it is not there, or empty.
        is_own (Callable): Tells by the first bytes of a file whether to write over it.

    Raises:
        UserError: If it is a folder, or any other file.
    """
    if path.is_dir():
        raise UserError(f'{option} {path} is a folder. Name a file')
    if not path.is_file():
        return
    with open(path, 'rb') as stream:
        beginning = stream.read(BEGINNING)
    if beginning and not is_own(beginning):
        raise UserError(
            f'{option} {path} is there and holds no earlier results, so it is not '
            'written over: name another file'
        )


def is_coco_results(beginning: bytes) -> bool:
    """Whether a file begins as a list of detections in COCO's results format."""
    first = beginning.partition(b'}')[0].lstrip()
    keys = (b'"image_id"', b'"category_id"', b'"score"')
    if re.fullmatch(rb'\[\s*\]?\s*', first):
        return True  # no detections
    return first.startswith(b'[') and all(key in beginning for key in keys)


def is_dumped_results(beginning: bytes) -> bool:
    """Whether a file begins as MMDetection's pickle of detections does."""
    return beginning.startswith(b'\x80') and b'pred_instances' in beginning
