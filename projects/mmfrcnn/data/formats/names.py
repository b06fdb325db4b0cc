"""Lists of names: of images, one a line; of classes, one a line or in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmfrcnn.data.formats.documents import read_yaml
from mmfrcnn.data.formats.texts import one_line, read_text
from mmfrcnn.errors import UserError, shown


def read_names(path: str | Path) -> list[str]:
    """Read a list of image names, one a line, as in VOC's ``ImageSets/Main``.

    Raises:
        UserError: If there is no such file, or nothing in it.
    """
    try:
        lines = read_text(Path(path)).splitlines()
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such list of images') from error
    names = [one_line(line.strip(), str(path)) for line in lines if line.strip()]
    if not names:
        raise UserError(f'{path}: the list of images is empty')
    return names


def read_class_names(path: Path) -> list[str]:
    """Read ``names`` of a YAML file, or the lines of a text file.

    Raises:
        UserError: If the file is missing or broken, or names are missing or repeated.
    """
    try:
        if path.suffix in ('.yaml', '.yml'):
            content = read_yaml(path) or {}
            names = _listed(content['names'], path)
            if content.get('kpt_shape'):
                raise UserError(
                    f'{path}: kpt_shape: labels with keypoints are not read, as they '
                    'cannot be told from polygons. Keep the first five values of each '
                    'line, and take kpt_shape out'
                )
        else:
            lines = read_text(path).rstrip().splitlines()
            names = [line.strip() for line in lines]
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such file of class names') from error
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        message = f'{path}: no "names", a list or 0: ..., 1: ... ({error})'
        raise UserError(message) from error
    if not names or '' in names:
        raise UserError(f'{path}: class {len(names) and names.index("")} has no name')
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f'{path}: two classes are named {twice[0]!r}')
    return [one_line(name, str(path)) for name in names]


def _listed(names: Any, path: Path) -> list[str]:
    if isinstance(names, dict):
        numbers = sorted(int(number) for number in names)
        if numbers and numbers != list(range(len(numbers))):
            absent = next(n for n in range(len(numbers)) if n not in numbers)
            raise UserError(
                f'{path}: names begins at {numbers[0]}; it must begin at 0'
                if absent == 0
                else f'{path}: names has no {absent}; it must count 0, 1, 2, ...'
            )
        by_number = {int(number): name for number, name in names.items()}
        names = [by_number[number] for number in numbers]
    if isinstance(names, str):
        raise TypeError(f'it is the text {shown(names)}')
    for number, name in enumerate(names):
        if isinstance(name, bool) or name is None:
            raise UserError(
                f'{path}: class {number} reads as {name}, for YAML takes no, yes, '
                'on, off and null for values. Put the names in quotes: "no"'
            )
    return [str(name) for name in names]
