"""Whether a checkpoint file is what was written.

Since torch 1.6 it is a zip archive, stored without compression, whose parts have
checksums; torch itself does not look at them.
"""

from __future__ import annotations

import errno
import zipfile
from pathlib import Path
from typing import BinaryIO

OLD_FORMAT = b'\x80\x02'
"""How files of torch before 1.6 begin: nothing in them tells where they end."""


def damage_of(file: str | Path | BinaryIO) -> str:
    """Say what is wrong with a checkpoint file, or ''.

    Args:
        file (str | Path | BinaryIO): A file, or an open one, at its beginning.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if not all(map(_is_stored, archive.infolist())):
                return 'its parts are compressed, as torch never writes them'
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


def _is_old(file: str | Path | BinaryIO) -> bool:
    if not isinstance(file, str | Path):
        return False
    with open(file, 'rb') as stream:
        return stream.read(2) == OLD_FORMAT
