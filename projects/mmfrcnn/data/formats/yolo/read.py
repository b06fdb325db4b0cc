"""Folders in YOLO's format: one text file for each image, boxes relative to its size.

::

    images/train/a.jpg     the images, in folders of any depth
    labels/train/a.txt     a line for each object: CLASS CX CY WIDTH HEIGHT, 0 to 1
    data.yaml              names: [cat, dog], or {0: cat, 1: dog}; or, instead,
    classes.txt            one name a line

Which images a split has is in `sources`. One without a label file has no objects.
Of a polygon, CLASS X1 Y1 X2 Y2 X3 Y3 ..., the bounding box is taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from tqdm import tqdm

from mmfrcnn.data.formats.names import read_class_names
from mmfrcnn.data.formats.pictures import OUTLINE, Box, Object, Picture, Split
from mmfrcnn.data.formats.texts import read_text
from mmfrcnn.data.formats.yolo.sources import (
    NAMES_FILES,
    Labelled,
    labelled_images,
    split_sources,
)
from mmfrcnn.data.images import known_size
from mmfrcnn.errors import UserError, shown

CLASS_NUMBER = re.compile(r'(\d{1,9})(\.0+)?')
DIGITS = 9
"""Of the largest coordinate read; numbers can be written that no float can hold."""
PIXEL_DIGITS = Decimal('1e-12')
"""Corners are rounded to this part of a pixel: it undoes the division by the size."""


def find_names(root: Path, labels: Path) -> Path:
    """Return the file of class names of a folder in YOLO's format."""
    folders = dict.fromkeys([root, labels, labels.parent])
    candidates = [folder / name for folder in folders for name in NAMES_FILES]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(
        f'{root}: no class names. Write them into data.yaml (names: [cat, dog]) or '
        'classes.txt (one a line), or set ann_file to the file that has them'
    )


def read_yolo(
    images: Sequence[Labelled], names_file: Path
) -> tuple[list[str], list[Picture]]:
    """Read the labels of images.

    Returns:
        tuple[list[str], list[Picture]]: The class names and the images.

    Raises:
        UserError: If a file is missing or broken.
    """
    names = read_class_names(names_file)
    progress = tqdm(images, 'reading labels', delay=3, unit='image')
    return names, [_picture(one, names) for one in progress]


def read_yolo_split(source: Path, name: str, image_dir: Path | None) -> Split:
    """Read one split of a folder.

    Raises:
        UserError: If a file is missing or broken.
    """
    there, absent = split_sources(source)
    notes = [
        f'data.yaml names {split}: {written}, which is not there: left out'
        for split, written in absent.items()
    ]
    found = labelled_images(there[name], None, source, notes)
    names_file = find_names(source, found[0].label.parent)
    return Split(name, *read_yolo(found, names_file), notes)


def _picture(one: Labelled, names: list[str]) -> Picture:
    width, height = known_size(one.image, str(one.label))
    picture = Picture(one.title, width, height, image=one.image)
    try:
        lines = read_text(one.label).splitlines()
    except FileNotFoundError:
        return picture
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f'{one.label}, line {number}'
            name, relative = _parse(line, where, names)
            title = f'{picture.title}: line {number}, {name} ({line.strip()[:60]})'
            is_polygon = len(relative) > 4
            box = to_pixels(
                _bounds(relative) if is_polygon else relative, width, height
            )
            extras = (OUTLINE,) * is_polygon
            picture.objects.append(Object(name, box, title, extras=extras))
    return picture


def _parse(line: str, where: str, names: list[str]) -> tuple[str, list[Decimal]]:
    fields = line.split()
    is_polygon = len(fields) >= 7 and len(fields) % 2 == 1
    if len(fields) != 5 and not is_polygon:
        what = 'a score?' * (len(fields) == 6)
        raise UserError(
            f'{where}: {len(fields)} values {what} instead of the five of a box, '
            f'CLASS CX CY WIDTH HEIGHT: {line.strip()[:60]!r}'
        )
    try:
        values = [Decimal(field) for field in fields[1:]]
        if any(value.is_finite() and value.adjusted() > DIGITS for value in values):
            raise InvalidOperation
    except InvalidOperation as error:
        raise UserError(f'{where}: not all numbers: {line.strip()[:60]!r}') from error
    number = CLASS_NUMBER.fullmatch(fields[0])
    if number is None or int(number[1]) >= len(names):
        raise UserError(
            f'{where}: class {shown(fields[0])}, but the classes are 0 to '
            f'{len(names) - 1}: {", ".join(names[:10])}'
        )
    return names[int(number[1])], values


def _bounds(polygon: list[Decimal]) -> list[Decimal]:
    """Return the bounding box (cx, cy, w, h) of a polygon x1, y1, x2, y2, ..."""
    if not all(value.is_finite() for value in polygon):
        return [Decimal('nan')] * 4
    xs, ys = polygon[::2], polygon[1::2]
    low, high = (min(xs), min(ys)), (max(xs), max(ys))
    centre = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    return [*centre, *(b - a for a, b in zip(low, high, strict=True))]


def to_pixels(relative: list[Decimal], width: int, height: int) -> Box:
    """Turn (cx, cy, w, h) relative to the image into xyxy pixels.

    Example:
        >>> to_pixels([Decimal(v) for v in ('0.5', '0.5', '0.25', '1')], 40, 30)
        (15.0, 0.0, 25.0, 30.0)
    """
    if not all(value.is_finite() for value in relative):
        return (math.nan,) * 4  # to be named by who uses it
    cx, cy, w, h = relative
    corners = (
        (cx - w / 2) * width,
        (cy - h / 2) * height,
        (cx + w / 2) * width,
        (cy + h / 2) * height,
    )
    x1, y1, x2, y2 = (float(side.quantize(PIXEL_DIGITS)) for side in corners)
    return x1, y1, x2, y2
