"""Reading annotation files with errors that name the file, the object and the key.

Boxes are xyxy in image pixels, floats.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from mmap import ACCESS_READ, mmap
from pathlib import Path
from xml.etree import ElementTree

from mmfrcnn.data.formats.coco_file import grouping, load_coco
from mmfrcnn.errors import UserError

NOT_A_NUMBER = 'not a number'
NO_AREA = 'no area (zero or negative width or height)'
OUTSIDE = 'outside the image'
TINY = 'narrower than one pixel'
UNKNOWN_CLASS = 'of a class that the config does not name'
NO_SIDE = (
    'and not the number of its pixels. Some tools write 0 or -1 for images that they '
    'did not open: write the true sizes'
)
MARKED_IGNORE = 'marked "ignore"'

CATEGORIES_BYTES = 1 << 22
"""More than the categories of any known COCO file take, LVIS's 1,203 included."""
XML_ENCODING = re.compile(
    rb'(\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*["\']([\w.:-]+)["\'][^>]*?\?>'
)
UTF16_STARTS = {
    **{b'\xff\xfe': 'utf-16', b'\xfe\xff': 'utf-16'},
    **{b'<\0': 'utf-16-le', b'\0<': 'utf-16-be'},
}
VOC_DEFAULTS = ('', '0', 'Unspecified')
COCO_KEYS = ('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd')

Box = tuple[float, float, float, float]


@dataclass
class Object:
    """One annotated object: its class, its box and how a message calls it."""

    class_name: str
    box: Box
    title: str
    ignored: bool = False  # crowd or difficult: neither object nor background
    left_out: str | None = None  # a reason of the file's own
    extras: tuple[str, ...] = ()  # what else the file says of it


@dataclass
class Picture:
    """One image of an annotation file, as the file describes it."""

    title: str
    width: int
    height: int
    objects: list[Object] = field(default_factory=list)
    image: Path | None = None  # its file, where the reader knows the folder


def why_left_out(
    found: Object, picture: Picture, classes: Sequence[str], min_side: float = 0.0
) -> str | None:
    """Return why a box cannot be trained on or evaluated, or None if it can.

    Args:
        found (Object): The object.
        picture (Picture): The image it is in.
        classes (Sequence[str]): The classes of the config.
        min_side (float): Boxes narrower or lower than this many pixels are left out.
    """
    x1, y1, x2, y2 = found.box
    if not all(math.isfinite(side) for side in found.box):
        return NOT_A_NUMBER
    if x2 <= x1 or y2 <= y1:
        return NO_AREA
    if x2 <= 0 or y2 <= 0 or x1 >= picture.width or y1 >= picture.height:
        return OUTSIDE
    if min(x2 - x1, y2 - y1) < min_side:
        return TINY
    if found.class_name not in classes:
        return UNKNOWN_CLASS
    return found.left_out


# -- Pascal VOC


def read_names(path: str | Path) -> list[str]:
    """Read a list of image names, one a line, as in VOC's ``ImageSets/Main``.

    Raises:
        UserError: If there is no such file, or nothing in it.
    """
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such list of images') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not text in UTF-8 ({error})') from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f'{path}: the list of images is empty')
    return names


def read_voc(path: str | Path) -> Picture:
    """Read one Pascal VOC XML file.

    The format counts pixels from 1. As mmdet does, 1 is taken from all four sides, so a
    box is ``xmax - xmin`` wide, and one with ``xmin == xmax`` has no area.

    Raises:
        UserError: If the file is missing or broken, or a part of it is.
    """
    path = Path(path)
    try:
        root = ElementTree.fromstring(_xml_content(path.read_bytes()))
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such annotation file') from error
    except ElementTree.ParseError as error:
        raise UserError(f'{path}: broken XML ({error}). Is it cut off?') from error
    except (LookupError, ValueError) as error:
        raise UserError(f'{path}: its text cannot be decoded ({error})') from error
    width, height = (_xml_side(root, key, path) for key in ('width', 'height'))
    picture = Picture(path.stem, width, height)
    for index, node in enumerate(root.findall('object'), 1):
        picture.objects.append(_voc_object(node, f'object {index}', path))
    return picture


def _xml_content(content: bytes) -> bytes | str:
    """Decode XML that Expat does not: of two bytes a letter, or wrongly declared.

    Expat knows no encoding like GBK, and believes a declaration that was not changed
    when the text was saved in UTF-16, or in UTF-8 instead of it.
    """
    for start, name in UTF16_STARTS.items():
        if content.startswith(start):
            return content.decode(name)
    named = XML_ENCODING.match(content)
    if named is None:
        return content
    name = named[2].decode('ascii', 'replace').lower()
    name = 'gb18030' if name in ('gb2312', 'gbk') else name  # which has both in it
    if name.startswith(('utf', 'ucs', 'iso-10646')):
        name = 'utf-8'  # as the declaration is in single bytes
    return content[named.end() :].decode(name)


def _xml_side(root: ElementTree.Element, key: str, path: Path) -> int:
    side = _xml_number(root, f'size/{key}', path, 'the image')
    if math.isfinite(side) and side >= 1:
        return int(side)
    raise UserError(f'{path}: <size/{key}> is {side:g}, {NO_SIDE}')


def _voc_object(node: ElementTree.Element, what: str, path: Path) -> Object:
    name = (node.findtext('name') or '').strip()
    if not name:
        raise UserError(f'{path}: {what} has no <name>')
    sides = [
        _xml_number(node, f'bndbox/{key}', path, what)
        for key in ('xmin', 'ymin', 'xmax', 'ymax')
    ]
    written = ', '.join(f'{side:g}' for side in sides)
    # In decimals, so that what is written with a fraction is read without a residue.
    x1, y1, x2, y2 = (plus(side, -1.0) for side in sides)
    difficult = (node.findtext('difficult') or '0').strip() not in ('', '0')
    title = f'{path.stem}: {what}, {name} ({written})'
    extras = tuple(
        child.tag
        for child in node
        if child.tag not in ('name', 'bndbox', 'difficult')
        and (len(child) or (child.text or '').strip() not in VOC_DEFAULTS)
    )
    return Object(name, (x1, y1, x2, y2), title, ignored=difficult, extras=extras)


def _xml_number(node: ElementTree.Element, key: str, path: Path, what: str) -> float:
    text = node.findtext(key)
    if text is None:
        raise UserError(f'{path}: {what} has no <{key}>')
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f'{path}: {what}: <{key}> is {text!r}, no number') from error


# -- COCO


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
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f'{path}: broken JSON ({error}). Is it cut off?') from error
    tables = [_table(content, key, path) for key in ('categories', 'images')]
    names = {
        _id(entry, 'id', path, 'categories'): str(
            _value(entry, 'name', path, 'categories')
        )
        for entry in tables[0]
    }
    pictures: dict[int | float | str, Picture] = {}
    for entry in tables[1]:
        number = _id(entry, 'id', path, 'images')
        if number in pictures:
            raise UserError(f'{path}: two images have the id {number}')
        what = f'images: id {number}'
        name = _file_name(entry, path, what)
        width, height = (_side(entry, key, path, what) for key in ('width', 'height'))
        pictures[number] = Picture(name, width, height)
    _read_coco_objects(_table(content, 'annotations', path), names, pictures, path)
    used = {found.class_name for one in pictures.values() for found in one.objects}
    groups = grouping(tables[0], used)
    return list(names.values()), list(pictures.values()), groups


def _side(entry: Mapping, key: str, path: str | Path, what: str) -> int:
    """Return the width or height of an image, which mmdet measures its boxes by."""
    side = _value(entry, key, path, what)
    if isinstance(side, int | float) and math.isfinite(side) and side >= 1:
        return int(side)
    raise UserError(
        f'{path}: {what} ({entry.get("file_name")}): {key} is {side!r}, {NO_SIDE}'
    )


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
        names = [str(entry['name']) for entry in entries if entry['id'] is not None]
        # What groups others may be a class by the annotations.
        if len(set(names)) == len(names) and not grouping(entries, ()):
            return names, []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # a mistake, or merely unusual
    names, _, groups = read_coco(path)
    return [name for name in names if name not in groups], groups


def _file_name(entry: Mapping, path: str | Path, what: str) -> str:
    """Return the file of an image; LVIS gives where it is from instead."""
    url = entry.get('coco_url')
    if entry.get('file_name') is None and isinstance(url, str):
        return '/'.join(url.split('/')[-2:])
    return str(_value(entry, 'file_name', path, what))


def _read_coco_objects(
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
        except (TypeError, ValueError) as error:
            reason = 'not four numbers (x, y, width, height)'
            raise UserError(f'{path}: {what}: bbox is {bbox}, {reason}') from error
        category = _id(entry, 'category_id', path, what)
        name = names.get(category, f'category id {category}')
        picture = pictures[image]
        picture.objects.append(
            Object(
                name,
                (x, y, plus(x, width), plus(y, height)),
                f'annotation {number} in {picture.title}, {name} {bbox}',
                ignored=bool(entry.get('iscrowd')),
                left_out=_coco_left_out(entry, path, what),
                extras=_coco_extras(entry, width * height),
            )
        )


def plus(one: float, other: float) -> float:
    """Add as decimal numbers: 0.1 + 0.2 is 0.3.

    Example:
        >>> plus(0.1, 0.2)
        0.3
    """
    if not (math.isfinite(one) and math.isfinite(other)):
        return one + other
    return float(Decimal(repr(one)) + Decimal(repr(other)))


def _coco_extras(entry: Mapping, box_area: float) -> tuple[str, ...]:
    extras = [key for key, value in entry.items() if value and key not in COCO_KEYS]
    if not math.isclose(float(entry['area']), box_area, rel_tol=1e-6, abs_tol=1e-6):
        extras.append('area (other than that of the box)')
    return tuple(extras)


def _coco_left_out(entry: Mapping, path: str | Path, what: str) -> str | None:
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
    if isinstance(value, int | float | str):
        return value
    raise UserError(f'{path}: {what}: {key} is {value!r}, neither number nor text')
