"""Folders in YOLO's format: one text file for each image, boxes relative to its size.

::

    images/train/a.jpg     the images, in folders of any depth
    labels/train/a.txt     a line for each object: CLASS CX CY WIDTH HEIGHT, 0 to 1
    data.yaml              names: [cat, dog], or {0: cat, 1: dog}; or, instead,
    classes.txt            one name a line

An image without a label file has no objects. Of a polygon, CLASS X1 Y1 X2 Y2 X3 Y3 ...,
the bounding box is taken.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from mmdet.registry import DATASETS
from tqdm import tqdm

from mmfrcnn.datasets.annotations import Box, Object, Picture
from mmfrcnn.datasets.images import find_images, known_size
from mmfrcnn.datasets.pictures import PictureDataset
from mmfrcnn.errors import UserError

NAMES_FILES = ('data.yaml', 'data.yml', 'classes.txt')
POLYGON = 'polygon (its bounding box was taken)'
PIXEL_DIGITS = Decimal('1e-12')
"""Corners are rounded to this part of a pixel: it undoes the division by the size."""


@DATASETS.register_module()
class YoloDataset(PictureDataset):
    """Images and label files in YOLO's format.

    Args:
        kwargs: `PictureDataset`'s arguments. ``data_prefix=dict(img=...)`` is the
            folder of images (``images/train``), ``labels`` in it that of the labels,
            by default the same path with ``labels`` for the last ``images``;
            ``ann_file`` is the file of class names, by default ``data.yaml`` or
            ``classes.txt`` in ``data_root`` or with the labels.
    """

    lists_classes = True

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the class names, and the label file of every image."""
        images = Path(self.data_prefix.get('img') or self.data_root)
        labels = Path(self.data_prefix.get('labels') or labels_folder(images))
        names = Path(self.ann_file) if self.ann_file else None
        names = names or find_names(Path(self.data_root or '.'), labels)
        return read_yolo(images, labels, names)


def labels_folder(images: Path) -> Path:
    """Return the folder of labels that belongs to a folder of images.

    Example:
        >>> labels_folder(Path('pets/images/train')).as_posix()
        'pets/labels/train'
    """
    parts = list(images.parts)
    if 'images' not in parts:
        raise UserError(
            f'{images}: no folder "images" in this path, so its labels are not known. '
            'Set data_prefix=dict(img=..., labels=...)'
        )
    parts[len(parts) - 1 - parts[::-1].index('images')] = 'labels'
    return Path(*parts)


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
            names = _listed((yaml.safe_load(text) or {})['names'], path)
        else:
            names = [line.strip() for line in text.rstrip().splitlines()]
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such file of class names') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not text in UTF-8 ({error})') from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
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


def image_folders(root: Path) -> dict[str, Path]:
    """Return the folders of images by split, where they are ``train/images`` and so on.

    They are those that ``data.yaml`` names, wherever it stood when it was written
    (Roboflow's says ``../train/images`` of the folder beside it), or else those that
    are there.

    Raises:
        UserError: If ``data.yaml`` is broken.
    """
    found = {}
    for file in (root / name for name in NAMES_FILES[:2] if (root / name).is_file()):
        try:
            content = yaml.safe_load(file.read_text(encoding='utf-8-sig'))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f'{file}: broken YAML ({error})') from error
        content = content if isinstance(content, dict) else {}
        for split in ('train', 'val', 'test'):
            folder = _named_folder(root, content.get('path'), content.get(split))
            if folder:
                found.setdefault(split, folder)
    return found or {
        folder.parent.name: folder
        for folder in sorted(root.glob('*/images'))
        if folder.is_dir()
    }


def _named_folder(root: Path, path: object, written: object) -> Path | None:
    """Return the folder that a YAML file in ``root`` means, with its ``path``."""
    if not isinstance(written, str) or not written.strip():
        return None
    below = Path(*(part for part in Path(written).parts if part not in ('..', '.')))
    folders = root / below, root / str(path or '') / written, root / written
    return next((one for one in folders if one.is_dir() and one != root), None)


def read_yolo(
    images: Path, labels: Path, names_file: Path
) -> tuple[list[str], list[Picture]]:
    """Read the labels of all images of a folder.

    Returns:
        tuple[list[str], list[Picture]]: The class names and the images, whose titles
        are their paths below the folder.

    Raises:
        UserError: If a file is missing or broken, a label file has no image, or one
            label file would belong to two images.
    """
    names = read_class_names(names_file)
    paths = find_images(images)
    label_files = {}
    for path in paths:
        label_file = (labels / path.relative_to(images)).with_suffix('.txt')
        if label_file in label_files:
            first = label_files[label_file]
            raise UserError(f'{label_file} would belong to {first} and to {path}')
        label_files[label_file] = path
    for orphan in sorted(labels.rglob('*.txt')):
        if orphan not in label_files and _holds_labels(orphan):
            raise UserError(f'{orphan}: there is no image of this name in {images}')
    progress = tqdm(label_files.items(), f'reading {labels}', delay=3, unit='image')
    return names, [_picture(path, file, images, names) for file, path in progress]


def _holds_labels(path: Path) -> bool:
    """Whether a text file holds labels, and not class names or notes."""
    if path.name in NAMES_FILES:
        return False
    lines = path.read_text(encoding='utf-8-sig', errors='replace').splitlines()
    fields = [line.split() for line in lines if line.strip()]
    return not fields or any(f[0].isdecimal() and len(f) >= 5 for f in fields)


def _picture(path: Path, label_file: Path, root: Path, names: list[str]) -> Picture:
    width, height = known_size(path, str(label_file))
    picture = Picture(path.relative_to(root).as_posix(), width, height, image=path)
    try:
        lines = label_file.read_text(encoding='utf-8-sig').splitlines()
    except FileNotFoundError:
        return picture
    except UnicodeDecodeError as error:
        raise UserError(f'{label_file}: not text ({error})') from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f'{label_file}, line {number}'
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
    except InvalidOperation as error:
        raise UserError(f'{where}: not all numbers: {line.strip()!r}') from error
    if not fields[0].isdecimal() or int(fields[0]) >= len(names):
        raise UserError(
            f'{where}: class {fields[0]!r}, but the classes are 0 to {len(names) - 1}: '
            f'{", ".join(names[:10])}'
        )
    return names[int(fields[0])], values


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
