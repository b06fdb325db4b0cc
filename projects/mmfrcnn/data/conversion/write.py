"""Writing splits as COCO, Pascal VOC or YOLO.

::

    COCO   annotations/instances_SPLIT.json   SPLIT/a.jpg
    VOC    ImageSets/Main/SPLIT.txt   Annotations/a.xml   JPEGImages/a.jpg   classes.txt
    YOLO   labels/SPLIT/a.txt   images/SPLIT/a.jpg   classes.txt   data.yaml

Coordinates are added, subtracted and divided as decimal numbers, so that reading the
result gives back the very boxes: VOC's are written with their fractions, YOLO's with up
to 17 digits, and those of more than twelve digits after the point are rounded there.
``classes.txt`` keeps the order of the classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]

from mmfrcnn.data.conversion.read import INSTANCES, Split
from mmfrcnn.data.formats.annotations import Object, Picture
from mmfrcnn.errors import UserError

YOLO_DIGITS = Decimal('1e-17')
Images = Callable[[Picture, Path], None]
"""Puts the image of a picture at a path."""


def stem(picture: Picture) -> str:
    """Return the path of a picture's image without its suffix."""
    return picture.title[: -len(Path(picture.title).suffix)]


def check_stems(splits: Iterable[Split], by_split: bool) -> None:
    """Refuse images that would share one annotation file.

    Raises:
        UserError: Naming the two images.
    """
    seen: dict[tuple[str, str], str] = {}
    for split in splits:
        for picture in split.pictures:
            key = (split.name if by_split else '', stem(picture))
            mine = f'{picture.title} of {split.name}'
            if key in seen:
                raise UserError(
                    f'{seen[key]} and {mine} would have one annotation file, '
                    f'{stem(picture)}. Rename one, or choose other --splits'
                )
            seen[key] = mine


# -- COCO


def write_coco(split: Split, root: Path, place: Images) -> None:
    """Write one split as a COCO instances file; all ids count from 1."""
    images, annotations = [], []
    numbers = {name: number for number, name in enumerate(split.classes, 1)}
    for image_id, picture in enumerate(split.pictures, 1):
        place(picture, root / split.name / picture.title)
        images.append(
            {
                'id': image_id,
                'file_name': picture.title,
                'width': picture.width,
                'height': picture.height,
            }
        )
        for found in picture.objects:
            x1, y1, x2, y2 = map(_exact, found.box)
            width, height = x2 - x1, y2 - y1
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': image_id,
                    'category_id': numbers[found.class_name],
                    'bbox': [_number(side) for side in (x1, y1, width, height)],
                    'area': _number(width * height),
                    'iscrowd': int(found.ignored),
                }
            )
    categories = [{'id': number, 'name': name} for name, number in numbers.items()]
    content = {
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }
    path = root / 'annotations' / f'{INSTANCES}{split.name}.json'
    _write(path, json.dumps(content, ensure_ascii=False))


# -- Pascal VOC


def write_voc(split: Split, root: Path, place: Images) -> None:
    """Write one split as XML files and a list of their names; pixels count from 1."""
    for picture in split.pictures:
        place(picture, root / 'JPEGImages' / picture.title)
        tree = ElementTree.ElementTree(_xml(picture))
        ElementTree.indent(tree)
        path = root / 'Annotations' / f'{stem(picture)}.xml'
        path.parent.mkdir(parents=True, exist_ok=True)
        tree.write(path, encoding='utf-8')
    names = [stem(picture) for picture in split.pictures]
    _write(root / 'ImageSets' / 'Main' / f'{split.name}.txt', _lines(names))
    _write(root / 'classes.txt', _lines(split.classes))


def _xml(picture: Picture) -> ElementTree.Element:
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = picture.title
    size = ElementTree.SubElement(root, 'size')
    for key, value in (('width', picture.width), ('height', picture.height)):
        ElementTree.SubElement(size, key).text = str(value)
    for found in picture.objects:
        node = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(node, 'name').text = found.class_name
        ElementTree.SubElement(node, 'difficult').text = str(int(found.ignored))
        box = ElementTree.SubElement(node, 'bndbox')
        for key, side in zip(('xmin', 'ymin', 'xmax', 'ymax'), found.box, strict=True):
            ElementTree.SubElement(box, key).text = _text(_exact(side) + 1)
    return root


# -- YOLO


def write_yolo(split: Split, root: Path, place: Images) -> None:
    """Write one split as label files; objects to ignore have no place in the format."""
    for picture in split.pictures:
        place(picture, root / 'images' / split.name / picture.title)
        lines = [
            f'{split.classes.index(found.class_name)} {_relative(found, picture)}'
            for found in picture.objects
            if not found.ignored
        ]
        _write(root / 'labels' / split.name / f'{stem(picture)}.txt', _lines(lines))
    _write(root / 'classes.txt', _lines(split.classes))
    path = root / 'data.yaml'
    content = yaml.safe_load(path.read_text(encoding='utf-8')) if path.exists() else {}
    content[split.name] = f'images/{split.name}'
    content['names'] = dict(enumerate(split.classes))
    _write(path, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def _relative(found: Object, picture: Picture) -> str:
    x1, y1, x2, y2 = map(_exact, found.box)
    values = (
        (x1 + x2) / 2 / picture.width,
        (y1 + y2) / 2 / picture.height,
        (x2 - x1) / picture.width,
        (y2 - y1) / picture.height,
    )
    return ' '.join(_text(value.quantize(YOLO_DIGITS)) for value in values)


# -- Numbers and files


def _exact(value: float) -> Decimal:
    """Return the decimal number that a float is written as."""
    return Decimal(repr(float(value)))


def _text(value: Decimal) -> str:
    text = format(value, 'f')
    text = text.rstrip('0').rstrip('.') if '.' in text else text
    return '0' if text == '-0' else text


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _lines(lines: Sequence[str]) -> str:
    return ''.join(f'{line}\n' for line in lines)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')


WRITERS = {'coco': write_coco, 'voc': write_voc, 'yolo': write_yolo}
