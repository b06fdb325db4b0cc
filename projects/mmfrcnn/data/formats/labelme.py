"""LabelMe: one JSON file for each image, in the same folder.

::

    a.jpg   a.json   {"imagePath": "a.jpg", "imageWidth": 640, "imageHeight": 480,
                      "shapes": [{"label": "cat", "shape_type": "rectangle",
                                  "points": [[48, 240], [195.5, 371]]}]}

Of a polygon, a circle (its centre and a point of it) or a mask the bounding box is
taken. Points and lines are no objects with a box, and are left out by name.
"""

from __future__ import annotations

import math
import os
from pathlib import Path, PureWindowsPath
from typing import Any

from mmdet.registry import DATASETS
from tqdm import tqdm

from mmfrcnn.data.formats.documents import read_json
from mmfrcnn.data.formats.pictures import (
    OUTLINE,
    Box,
    Object,
    Picture,
    PictureDataset,
    bounds,
)
from mmfrcnn.data.formats.texts import one_line
from mmfrcnn.data.images import SUFFIXES, known_size
from mmfrcnn.errors import UserError, shown

WITHOUT_BOX = 'a point or line, which has no box'
BOXLESS = ('point', 'points', 'line', 'linestrip')


@DATASETS.register_module()
class LabelMeDataset(PictureDataset):
    """Images with a LabelMe file beside each, in ``data_root`` at any depth.

    Args:
        kwargs: `PictureDataset`'s arguments; ``data_prefix=dict(img=...)`` is a folder
            in ``data_root`` to take alone. Images without a LabelMe file, which nobody
            may have looked at, are no part of the data set. Without ``metainfo`` the
            classes are the labels that occur, in alphabetical order.
    """

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read all LabelMe files of the folder."""
        root = Path(self.data_root or '.')
        return read_labelme(Path(self.data_prefix.get('img') or root), root)


def read_labelme(folder: Path, root: Path) -> tuple[list[str], list[Picture]]:
    """Read the LabelMe files of a folder, at any depth.

    Args:
        folder (Path): The folder.
        root (Path): The folder that titles are relative to.

    Returns:
        tuple[list[str], list[Picture]]: The labels that occur, sorted, and the images
        by name.

    Raises:
        UserError: If there is none, or one is broken, or its image is missing.
    """
    if not folder.is_dir():
        raise UserError(f'no such folder of LabelMe files: {folder}')
    pictures = []
    for file in tqdm(sorted(folder.rglob('*.json')), f'reading {folder}', delay=3):
        content = read_json(file)
        if is_labelme(content):
            pictures.append(_picture(content, file, root))
    if not pictures:
        raise UserError(f'{folder}: no LabelMe file (JSON with "shapes") in it')
    labels = {found.class_name for one in pictures for found in one.objects}
    return sorted(labels), pictures


def is_labelme(content: object) -> bool:
    """Whether the content of a JSON file is LabelMe's."""
    return isinstance(content, dict) and isinstance(content.get('shapes'), list)


def _picture(content: dict, file: Path, root: Path) -> Picture:
    image = _image(content, file)
    size = known_size(image, str(file))
    annotated = content.get('imageWidth'), content.get('imageHeight')
    if all(isinstance(side, int) and side > 0 for side in annotated):
        size = annotated  # that of the image is compared with it by the checks
    picture = Picture(image.relative_to(root).as_posix(), *size, image=image)
    for number, shape in enumerate(content['shapes'], 1):
        picture.objects.append(_object(shape, f'shape {number}', file))
    return picture


def _image(content: dict, file: Path) -> Path:
    """Return the image of a file: the one that it names, or that of its own name."""
    named = PureWindowsPath(str(content.get('imagePath') or '')).name
    beside = [file.with_suffix(end) for end in (*SUFFIXES, *map(str.upper, SUFFIXES))]
    places = [file.parent / named] * bool(named) + beside
    found = next((place for place in places if os.path.isfile(place)), None)
    if found is None:
        raise UserError(f'{file}: its image {named or file.stem} is not beside it')
    return found


def _object(shape: Any, what: str, file: Path) -> Object:
    label = shape.get('label') if isinstance(shape, dict) else None
    if not isinstance(label, str | int | float) or not str(label or '').strip():
        raise UserError(f'{file}: {what} has no "label"')
    label = one_line(str(label).strip(), f'{file}: {what}')
    kind = str(shape.get('shape_type') or 'polygon')
    points = shape.get('points')
    try:
        corners = [(float(x), float(y)) for x, y in points]
        box = _box(corners, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f'{file}: {what}, {label}: points is no list of [x, y]: {shown(points)}'
        ) from error
    written = ', '.join(f'{side:g}' for side in box)
    return Object(
        label,
        box,
        f'{file.stem}: {what}, {label} ({written})',
        left_out=WITHOUT_BOX if kind in BOXLESS else None,
        extras=() if kind == 'rectangle' else (OUTLINE,),
    )


def _box(points: list[tuple[float, float]], kind: str) -> Box:
    if kind == 'circle':
        (x, y), on_it = points
        radius = math.dist((x, y), on_it)
        return x - radius, y - radius, x + radius, y + radius
    return bounds(points)
