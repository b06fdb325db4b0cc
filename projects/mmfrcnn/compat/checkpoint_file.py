"""Whether a checkpoint file is what was written, before anything in it is read.

Since torch 1.6 it is a zip archive, stored without compression, whose parts have
checksums; torch itself does not look at them, and unpacks what is compressed.
"""

from __future__ import annotations

import errno
import zipfile
from pathlib import Path
from typing import BinaryIO

from mmfrcnn.errors import UserError

OLD_FORMAT = b'\x80\x02'
"""How files of torch before 1.6 begin: nothing in them tells where they end."""
DOS_FOLDER = 0x10
"""An attribute of a part of a zip archive."""


def check_file(path: str) -> None:
    """Check that a checkpoint is a whole file, which unpacks to what it is.

    Args:
        path (str): The file; what is none, such as an address, is left to its reader,
            and so is what is damaged in a ``.safetensors``.

    Raises:
        UserError: If it is a pipe or a device, compressed, or damaged.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        if file.exists() and not file.is_dir():
            raise UserError(f'{path} is a pipe or a device, not a checkpoint file')
        return
    size = f'{file.stat().st_size} bytes'
    if unpacks_to_more(file):
        raise UserError(
            f'{path} ({size}) was not loaded: it is compressed, and may unpack to any '
            'size. torch writes checkpoints as they are: use the file it wrote'
        )
    damage = '' if file.suffix == '.safetensors' else damage_of(file)
    if damage:
        raise UserError(
            f'{path} ({size}) is not a complete checkpoint: {damage}. Use another'
        )


def unpacks_to_more(file: Path) -> bool:
    """Whether a file is a zip whose parts are compressed, or share their bytes."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return False  # none, or damaged: its reader says so
    size = sum(part.file_size for part in parts)
    return not all(map(_is_stored, parts)) or size > file.stat().st_size


def damage_of(file: str | Path | BinaryIO) -> str:
    """Say what is wrong with a checkpoint file, or ''.

    Args:
        file (str | Path | BinaryIO): A file, or an open one, at its beginning.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if not all(map(_is_stored, archive.infolist())):
                return 'its parts are compressed, as torch never writes them'
            if any(map(_passes_for_folder, archive.infolist())):
                return 'a part of it passes for a folder'
            part = archive.testzip()
    except zipfile.BadZipFile as error:
        if _is_old(file):
            return ''
        return f'it was cut off while being written, or is none of torch ({error})'
    except (NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        return f'it is no archive as torch writes them ({error})'
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return 'it names a part that begins before it does'
    return f'{part} in it was changed since it was written' if part else ''


def _is_stored(part: zipfile.ZipInfo) -> bool:
    """Whether a part is as long as it says: a checksum sees no other length."""
    return not part.compress_type and part.compress_size == part.file_size


def _passes_for_folder(part: zipfile.ZipInfo) -> bool:
    """Whether torch would read nothing for a part, and return what memory held."""
    return bool(part.external_attr & DOS_FOLDER and part.file_size)


def _is_old(file: str | Path | BinaryIO) -> bool:
    if not isinstance(file, str | Path):
        return False
    with open(file, 'rb') as stream:
        return stream.read(2) == OLD_FORMAT
