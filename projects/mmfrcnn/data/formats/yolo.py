"""Folders in YOLO's format: one text file for each image, boxes relative to its size.

::

    images/train/a.jpg     the images, in folders of any depth
    labels/train/a.txt     a line for each object: CLASS CX CY WIDTH HEIGHT, 0 to 1
    data.yaml              names: [cat, dog], or {0: cat, 1: dog}; or, instead,
    classes.txt            one name a line

Which images a split has is in `yolo_sources`. One without a label file has no objects.
Of a polygon, CLASS X1 Y1 X2 Y2 X3 Y3 ...,
the bounding box is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from mmdet.registry import DATASETS
from tqdm import tqdm

from mmfrcnn.data.formats.annotations import Box, Object, Picture
from mmfrcnn.data.formats.pictures import PictureDataset
from mmfrcnn.data.formats.yolo_sources import (
    NAMES_FILES,
    Labelled,
    labelled_images,
    labels_folder,
    named_sources,
)
from mmfrcnn.data.images import known_size
from mmfrcnn.errors import UserError, did_you_mean

POLYGON = 'polygon (its bounding box was taken)'
CLASS_NUMBER = re.compile(r'(\d{1,9})(\.0+)?')
DIGITS = 9
"""Of the largest coordinate read; numbers can be written that no float can hold."""
PIXEL_DIGITS = Decimal('1e-12')
"""Corners are rounded to this part of a pixel: it undoes the division by the size."""


@DATASETS.register_module()
class YoloDataset(PictureDataset):
    """Images and label files in YOLO's format.

    Args:
        split (str | None): The split of ``data.yaml`` that this is, in place of
            ``data_prefix``: ``train=...`` there may be a folder of images, a list of
            images or several of these, see `yolo_sources`.
        kwargs: `PictureDataset`'s arguments. ``data_prefix=dict(img=...)`` is the
            folder of images (``images/train``) or a list of them (``train.txt``),
            ``labels`` in it the folder of the labels, by default the same path with
            ``labels`` for the last ``images``; ``ann_file`` is the file of class
            names, by default ``data.yaml`` or ``classes.txt`` in ``data_root`` or with
            the labels.
    """

    lists_classes = True
    beyond = 'Are they in pixels? YOLO wants parts of the width and height, 0 to 1'

    def __init__(self, *, split: str | None = None, **kwargs) -> None:
        if split is not None and kwargs.pop('data_prefix', None):
            raise UserError(
                f'YoloDataset: split={split!r} and data_prefix both say which images '
                'these are: leave one out (data_prefix=None where a base config has it)'
            )
        self.split = split
        super().__init__(**kwargs)

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the class names, and the label file of every image."""
        self.notes = []
        root = Path(self.data_root or '.')
        if self.split is not None:
            names = Path(self.ann_file) if self.ann_file else find_names(root, root)
            sources = _sources_of(names, self.split)
            return read_yolo(labelled_images(sources, None, root, self.notes), names)
        images = Path(self.data_prefix.get('img') or self.data_root)
        labels = self.data_prefix.get('labels')
        is_list = images.suffix == '.txt'
        if is_list and labels:
            raise UserError(
                f'{images}: a list of images says where their labels are: in "labels" '
                'for "images", or beside. Leave labels out of data_prefix'
            )
        folder = None if is_list else Path(labels or labels_folder(images))
        found = labelled_images([images], folder, root, self.notes)
        names = Path(self.ann_file) if self.ann_file else None
        names = names or find_names(root, folder or found[0].label.parent)
        return read_yolo(found, names)


def _sources_of(file: Path, split: str) -> list[Path]:
    if not file.is_file():
        raise UserError(f'{file}: no such file of splits and class names')
    found, absent = named_sources(file) if file.suffix != '.txt' else ({}, {})
    if split in absent:
        raise UserError(f'{file}: {split}: {absent[split]}: no such folder or list')
    if split not in found:
        near = did_you_mean(split, found)
        there = ', '.join(found) or 'none'
        raise UserError(f'{file}: it names no split {split!r}.{near} It has {there}')
    return found[split]


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


def read_class_names(path: Path) -> list[str]:
    """Read ``names`` of a YAML file, or the lines of a text file.

    Raises:
        UserError: If the file is missing or broken, or names are missing or repeated.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
        if path.suffix in ('.yaml', '.yml'):
            content = yaml.safe_load(text) or {}
            names = _listed(content['names'], path)
            if content.get('kpt_shape'):
                raise UserError(
                    f'{path}: kpt_shape: labels with keypoints are not read, as they '
                    'cannot be told from polygons. Keep the first five values of each '
                    'line, and take kpt_shape out'
                )
        else:
            names = [line.strip() for line in text.rstrip().splitlines()]
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such file of class names') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not text in UTF-8 ({error})') from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        message = f'{path}: no "names", a list or 0: ..., 1: ... ({error})'
        raise UserError(message) from error
    if not names or '' in names:
        raise UserError(f'{path}: class {len(names) and names.index("")} has no name')
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f'{path}: two classes are named {twice[0]!r}')
    return names


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
        raise TypeError(f'it is the text {names!r}')
    for number, name in enumerate(names):
        if isinstance(name, bool) or name is None:
            raise UserError(
                f'{path}: class {number} reads as {name}, for YAML takes no, yes, '
                'on, off and null for values. Put the names in quotes: "no"'
            )
    return [str(name) for name in names]


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


def _picture(one: Labelled, names: list[str]) -> Picture:
    width, height = known_size(one.image, str(one.label))
    picture = Picture(one.title, width, height, image=one.image)
    try:
        lines = one.label.read_text(encoding='utf-8-sig').splitlines()
    except FileNotFoundError:
        return picture
    except UnicodeDecodeError as error:
        raise UserError(f'{one.label}: not text ({error})') from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f'{one.label}, line {number}'
            name, relative = _parse(line, where, names)
            title = f'{picture.title}: line {number}, {name} ({line.strip()[:60]})'
            is_polygon = len(relative) > 4
            box = to_pixels(
                _bounds(relative) if is_polygon else relative, width, height
            )
            extras = (POLYGON,) * is_polygon
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
            f'{where}: class {fields[0]!r}, but the classes are 0 to {len(names) - 1}: '
            f'{", ".join(names[:10])}'
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
    cx, cy, w, h = relative
    corners = (
        (cx - w / 2) * width,
        (cy - h / 2) * height,
        (cx + w / 2) * width,
        (cy + h / 2) * height,
    )
    x1, y1, x2, y2 = (
        # What is no number is passed on, to be named by who uses it.
        float(side.quantize(PIXEL_DIGITS) if side.is_finite() else side)
        for side in corners
    )
    return x1, y1, x2, y2
