"""Files that are there whole, or as they were before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file to write that takes its name when it is finished, and on the disk.

    Whatever ends the writing before, an error, a signal or a power cut, leaves the file
    that had the name so far as it was.

    Args:
        path (str | Path): Its folder is made where it is missing.

    Yields:
        BinaryIO: To write to, and to read back.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}.unfinished')
    try:
        with open(unfinished, 'wb+') as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file as above, in UTF-8 and with its ends of lines as they are."""
    with written_whole(path) as stream:
        stream.write(text.encode())


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError:  # nor do some network drives sync them
        pass
    finally:
        os.close(handle)
