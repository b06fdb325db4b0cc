"""Files of text that came with a data set, and the names in them."""

from __future__ import annotations

from pathlib import Path

from mmfrcnn.errors import UNPRINTABLE, UserError, shown


def read_file(path: Path) -> bytes:
    """Read a file whole.

    Raises:
        FileNotFoundError: If there is none.
        UserError: If it is a folder, a pipe or the like, or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f'{path}: not a file')
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: of a name that none can have
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{path}: it cannot be read ({reason})') from error


def read_text(path: Path) -> str:
    """Read a text in UTF-8, as :func:`read_file`; line ends stay as they are.

    Raises:
        FileNotFoundError: If there is none.
        UserError: If it is no file, or in another encoding.
    """
    try:
        return read_file(path).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not text in UTF-8 ({error})') from error


def one_line(name: str, where: str) -> str:
    """Return a name from a file, of an image or a class.

    Raises:
        UserError: If it has letters that no file name and no report can have.
    """
    if '\n' in name or UNPRINTABLE.search(name):
        raise UserError(
            f'{where}: the name {shown(name)} is not printable: it has a line end or '
            'a control character'
        )
    return name
