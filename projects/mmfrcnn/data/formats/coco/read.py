"""Reading COCO files with errors that name the file, the object and the key."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path

from mmfrcnn.data.formats.coco.regular import grouping, load_coco
from mmfrcnn.data.formats.decimals import plus
from mmfrcnn.data.formats.pictures import (
    LARGEST_SIDE,
    NO_AREA,
    NO_SIDE,
    Object,
    Picture,
    Split,
)
from mmfrcnn.data.formats.texts import one_line
from mmfrcnn.errors import UserError, shown

MARKED_IGNORE = 'marked "ignore"'
CATEGORIES_BYTES = 1 << 22
"""More than the categories of any known COCO file take, LVIS's 1,203 included."""
KEYS = ('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd')
INSTANCES = 'instances_'


def read_coco(
    path: str | Path, notes: list[str] | None = None
) -> tuple[list[str], list[Picture], list[str]]:
    """Read a COCO instances file.

    Args:
        path (str | Path): The file.
        notes (list[str] | None): Gets a line for each thing that `load_coco` completed.

    Returns:
        tuple[list[str], list[Picture], list[str]]: The names of its categories, its
        images, and the names of those categories that only group others.

    Raises:
        UserError: If the file is missing or broken, or a part of it is.
    """
    try:
        content = load_coco(path, notes)
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such annotation file') from error
    tables = [_table(content, key, path) for key in ('categories', 'images')]
    names: dict[int | float | str, str] = {}
    for entry in tables[0]:
        number = _id(entry, 'id', path, 'categories')
        if number in names:
            raise UserError(f'{path}: two categories have the id {number}')
        names[number] = _text(entry, 'name', path, f'categories: id {number}')
    pictures: dict[int | float | str, Picture] = {}
    for entry in tables[1]:
        number = _id(entry, 'id', path, 'images')
        if number in pictures:
            raise UserError(f'{path}: two images have the id {number}')
        what = f'images: id {number}'
        name = _file_name(entry, path, what)
        width, height = (_side(entry, key, path, what) for key in ('width', 'height'))
        pictures[number] = Picture(name, width, height)
    _read_objects(_table(content, 'annotations', path), names, pictures, path)
    used = {found.class_name for one in pictures.values() for found in one.objects}
    groups = grouping(tables[0], used)
    return list(names.values()), list(pictures.values()), groups


def read_coco_names(path: str | Path) -> tuple[list[str], list[str]]:
    """Read the names of a COCO file's categories, and of a large file not the rest.

    Returns:
        tuple[list[str], list[str]]: The classes, and the categories that are none
        because they only group others (see `grouping`).

    Raises:
        UserError: If the file is missing or broken.
    """
    try:
        with (
            open(path, 'rb') as file,
            mmap(file.fileno(), 0, access=ACCESS_READ) as raw,
        ):
            last = max(raw.rfind(b'"categories"'), 0)
            table = re.compile(rb'"categories"\s*:\s*(?=\[)').match(raw, last)
            start = table.end() if table else len(raw)
            text = raw[start : start + CATEGORIES_BYTES].decode(errors='ignore')
        entries = json.JSONDecoder().raw_decode(text)[0]
        names = [entry['name'] for entry in entries]
        ids = {str(one['id']) for one in entries}
        distinct = len(names) == len(set(names)) == len(ids)
        usual = all(isinstance(one, str) and one.isprintable() for one in names)
        # What groups others may be a class by the annotations.
        if usual and distinct and not grouping(entries, ()):
            return names, []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # a mistake, or merely unusual
    names, _, groups = read_coco(path)
    return [name for name in names if name not in groups], groups


# -- Images, objects and their keys


def _file_name(entry: Mapping, path: str | Path, what: str) -> str:
    """Return the file of an image; LVIS gives where it is from instead."""
    url = entry.get('coco_url')
    if entry.get('file_name') is None and isinstance(url, str):
        return one_line('/'.join(url.split('/')[-2:]), f'{path}: {what}')
    return _text(entry, 'file_name', path, what)


def _side(entry: Mapping, key: str, path: str | Path, what: str) -> int:
    """Return the width or height of an image, which mmdet measures its boxes by."""
    side = _value(entry, key, path, what)
    if isinstance(side, int | float) and 1 <= side <= LARGEST_SIDE and side % 1 == 0:
        return int(side)
    raise UserError(
        f'{path}: {what} ({entry.get("file_name")}): {key} is {shown(side)}, {NO_SIDE}'
    )


def _read_objects(
    entries: Sequence, names: Mapping, pictures: Mapping, path: str | Path
) -> None:
    seen = set()
    for entry in entries:
        number = _id(entry, 'id', path, 'annotations')
        what = f'annotations: id {number}'
        if number in seen:
            raise UserError(f'{path}: two annotations have the id {number}')
        seen.add(number)
        image = _id(entry, 'image_id', path, what)
        if image not in pictures:
            raise UserError(f'{path}: {what}: there is no image with the id {image!r}')
        bbox = _value(entry, 'bbox', path, what)
        try:
            x, y, width, height = (float(side) for side in bbox)
            if any(isinstance(side, str | bool) for side in bbox):
                raise ValueError
        except (TypeError, ValueError, OverflowError) as error:
            reason = 'not four numbers (x, y, width, height)'
            raise UserError(
                f'{path}: {what}: bbox is {shown(bbox)}, {reason}'
            ) from error
        category = _id(entry, 'category_id', path, what)
        name = names.get(category, f'category id {category}')
        picture = pictures[image]
        picture.objects.append(
            Object(
                name,
                (x, y, plus(x, width), plus(y, height)),
                f'annotation {number} in {picture.title}, {name} {bbox}',
                ignored=bool(entry.get('iscrowd')),
                left_out=_left_out(entry, path, what),
                extras=_extras(entry, width * height),
            )
        )


def _extras(entry: Mapping, box_area: float) -> tuple[str, ...]:
    extras = [key for key, value in entry.items() if value and key not in KEYS]
    if not math.isclose(float(entry['area']), box_area, rel_tol=1e-6, abs_tol=1e-6):
        extras.append('area (other than that of the box)')
    return tuple(extras)


def _left_out(entry: Mapping, path: str | Path, what: str) -> str | None:
    """Return mmdet's further reasons for passing over an annotation."""
    if entry.get('ignore'):
        return MARKED_IGNORE
    return NO_AREA if _value(entry, 'area', path, what) <= 0 else None


def _table(content: object, key: str, path: str | Path) -> list:
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise UserError(f'{path}: not a COCO instances file: it has no list {key!r}')
    return content[key]


def _value(entry: Mapping, key: str, path: str | Path, what: str):
    if not isinstance(entry, Mapping) or entry.get(key) is None:
        raise UserError(f'{path}: {what}: an entry has no {key!r}')
    return entry[key]


def _id(entry: Mapping, key: str, path: str | Path, what: str) -> int | float | str:
    value = _value(entry, key, path, what)
    if isinstance(value, str):
        return one_line(value, f'{path}: {what}: {key}')
    if isinstance(value, int | float) and -math.inf < value < math.inf:
        return value
    raise UserError(f'{path}: {what}: {key} is {shown(value)}, neither number nor text')


def _text(entry: Mapping, key: str, path: str | Path, what: str) -> str:
    value = _value(entry, key, path, what)
    if isinstance(value, str):
        return one_line(value, f'{path}: {what}: {key}')
    raise UserError(f'{path}: {what}: {key} is {shown(value)}, no text')


# -- Splits of a folder


def coco_splits(source: Path) -> list[str]:
    """List the instances files of a folder, or the one that is given."""
    if source.is_file():
        return [source.stem.removeprefix(INSTANCES)]
    files = sorted((source / 'annotations').glob(f'{INSTANCES}*.json'))
    return [file.stem.removeprefix(INSTANCES) for file in files]


def read_coco_split(source: Path, name: str, image_dir: Path | None) -> Split:
    """Read one split of a folder, or the one file that is given.

    Raises:
        UserError: If the file is missing or broken.
    """
    file = (
        source if source.is_file() else source / f'annotations/{INSTANCES}{name}.json'
    )
    folder = image_dir or (source.parent if source.is_file() else source / name)
    notes: list[str] = []
    classes, pictures, groups = read_coco(file, notes)
    with_files = [replace(p, image=folder / p.title) for p in pictures]
    return Split(name, classes, with_files, notes, groups)
