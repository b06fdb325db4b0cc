"""Label Studio's own export (JSON, and JSON-MIN): one list of tasks.

::

    [{"id": 7, "data": {"image": "/data/upload/1/3a1b2c4d-a.jpg"}, "annotations": [
        {"result": [{"type": "rectanglelabels", "original_width": 640,
                     "original_height": 480, "value": {"x": 7.5, "y": 50, "width": 23,
                     "height": 27.3, "rotation": 0, "rectanglelabels": ["cat"]}}]}]}]

Sides are percents of the image. Of a turned rectangle or a polygon the bounding box is
taken. A task without annotations was not looked at, and is no part of the data set; one
with an empty result is an image without objects. The export holds no images: they are
looked for by name, with and without the mark that an upload puts before it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from mmdet.registry import DATASETS

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
from mmfrcnn.data.images import find_images, known_size
from mmfrcnn.errors import UserError, first_of, shown

UPLOAD_MARK = re.compile(r'^[0-9a-f]{8}-')
KINDS = ('rectanglelabels', 'polygonlabels', 'ellipselabels')


@DATASETS.register_module()
class LabelStudioDataset(PictureDataset):
    """Images annotated with Label Studio, whose export is ``ann_file``.

    Args:
        kwargs: `PictureDataset`'s arguments; ``data_prefix=dict(img=...)`` is the
            folder in which the images are, at any depth. Without ``metainfo`` the
            classes are the labels that occur, in alphabetical order.
    """

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the export, and find its images."""
        self.notes = []
        images = Path(self.data_prefix.get('img') or self.data_root)
        return read_label_studio(Path(self.ann_file), images, self.notes)


def read_label_studio(
    path: Path, images: Path, notes: list[str]
) -> tuple[list[str], list[Picture]]:
    """Read an export of Label Studio.

    Args:
        path (Path): The export.
        images (Path): The folder of the images.
        notes (list[str]): Gets a line about what was passed over.

    Returns:
        tuple[list[str], list[Picture]]: The labels that occur, sorted, and the images.

    Raises:
        UserError: If the file or an image is missing or broken, or a task is.
    """
    try:
        tasks = read_json(path)
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such annotation file') from error
    if not isinstance(tasks, list):
        raise UserError(f"{path}: not Label Studio's export: it is no list of tasks")
    files = _by_name(images)
    pictures, untouched = [], []
    boxless: Counter[str] = Counter()
    for task in tasks:
        if not isinstance(task, dict):
            raise UserError(f'{path}, task {shown(task)}: not a task')
        number = shown(task.get('id'))
        where = f'{path}, task {number}'
        shapes = _shapes(task, where)
        if shapes is None:
            untouched.append(number)
            continue
        image = _find(_image_name(task, where), files, images, where)
        width, height = known_size(image, where)
        title = image.relative_to(images).as_posix()
        picture = Picture(title, width, height, image=image)
        picture.objects = list(_objects(shapes, picture, where))
        boxless.update(map(_boxless, shapes))
        pictures.append(picture)
    if untouched:
        notes.append(
            f'{len(untouched)} tasks have no annotation, and are left out: '
            f'{first_of(untouched)}'
        )
    del boxless['']
    if boxless:
        named = ', '.join(f'{kind} {n}' for kind, n in boxless.most_common())
        notes.append(f'shapes without a box are left out: {named}')
    labels = {found.class_name for one in pictures for found in one.objects}
    return sorted(labels), pictures


# -- The image of a task


def _by_name(images: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for image in find_images(images):
        found.setdefault(image.name, []).append(image)
    return found


def _image_name(task: dict, where: str) -> str:
    data = task.get('data', task)
    values = data.values() if isinstance(data, dict) else ()
    texts = [value for value in values if isinstance(value, str)]
    wanted = data.get('image') if isinstance(data, dict) else None
    if not isinstance(wanted, str):
        wanted = next((text for text in texts if '.' in PurePosixPath(text).name), None)
    if wanted is None:
        raise UserError(f'{where}: it has no "data" that names an image')
    # /data/local-files/?d=pets/a.jpg; s3://bucket/a.jpg; /data/upload/1/3a1b2c4d-a.jpg
    name = PurePosixPath(unquote(wanted.partition('?d=')[2] or wanted)).name
    return one_line(name, where)


def _find(name: str, files: dict[str, list[Path]], images: Path, where: str) -> Path:
    found = files.get(name) or files.get(UPLOAD_MARK.sub('', name), [])
    if not found:
        raise UserError(f'{where}: its image {name} is not in {images}')
    if len(found) > 1:
        raise UserError(f'{where}: {name} is there twice: {found[0]} and {found[1]}')
    return found[0]


# -- Its annotations


def _shapes(task: dict, where: str) -> list[dict] | None:
    """Return the shapes of a task, or None if nobody has annotated it."""
    if 'annotations' in task or 'completions' in task:
        done = task.get('annotations') or task.get('completions') or []
        done = _dicts(done, 'annotations', where)
        done = [one for one in done if not one.get('was_cancelled')]
        chosen = [one for one in done if one.get('ground_truth')] or done
        if len(chosen) > 1:
            raise UserError(
                f'{where}: it has {len(chosen)} annotations, and none alone is marked '
                'as ground truth. Mark one of them, or delete the others'
            )
        if not chosen:
            return None
        return _dicts(chosen[0].get('result'), 'result', where)
    # JSON-MIN: {"image": ..., "label": [{"x": ..., "rectanglelabels": ["cat"]}]}
    tables = [value for value in task.values() if isinstance(value, list)]
    shapes = [shape for table in tables for shape in table if isinstance(shape, dict)]
    return [{'value': shape, **shape} for shape in shapes]


def _dicts(table: Any, key: str, where: str) -> list[dict]:
    if isinstance(table, list) and all(isinstance(one, dict) for one in table):
        return table
    raise UserError(f'{where}: it has no list "{key}" of dicts, but {shown(table)}')


def _objects(shapes: list[dict], picture: Picture, where: str) -> Iterator[Object]:
    for number, shape in enumerate(shapes, 1):
        value = shape.get('value') or {}
        if not isinstance(value, dict):
            raise UserError(f'{where}: shape {number} is {shown(value)}, no dict')
        kind = next((kind for kind in KINDS if value.get(kind)), None)
        if kind is None:
            continue  # a choice, a text, a relation between shapes
        name = _label(value[kind], f'{where}: shape {number}: {kind}')
        what = f'shape {number}, {name}'
        try:
            box = _box(value, picture.width, picture.height)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f'{where}: {what}: no box can be read ({error})') from error
        written = ', '.join(f'{side:g}' for side in box)
        yield Object(
            name,
            box,
            f'{picture.title}: {what} ({written})',
            extras=(OUTLINE,) * (kind != KINDS[0] or bool(value.get('rotation'))),
        )


def _boxless(shape: dict) -> str:
    """Return the kind of a labelled shape of which no box is taken, or ''."""
    value = shape.get('value') or {}
    labelled = [key for key in value if key.endswith('labels') and value[key]]
    return '' if set(labelled) & set(KINDS) else ', '.join(map(shown, labelled))


def _label(labels: Any, where: str) -> str:
    if isinstance(labels, list) and isinstance(labels[0], str | int | float):
        return one_line(str(labels[0]).strip(), where)
    raise UserError(f'{where} is {shown(labels)}, no list of names')


def _box(value: dict, width: int, height: int) -> Box:
    """Turn percents into xyxy pixels, a rotation about the upper left corner included.

    The rotation is clockwise in pixels, in degrees.
    """
    if 'points' in value:
        points = [(x * width / 100, y * height / 100) for x, y in value['points']]
    elif 'radiusX' in value:
        x, y = value['x'] * width / 100, value['y'] * height / 100
        a, b = value['radiusX'] * width / 100, value['radiusY'] * height / 100
        angle = math.radians(value.get('rotation') or 0)
        w = math.hypot(a * math.cos(angle), b * math.sin(angle))
        h = math.hypot(a * math.sin(angle), b * math.cos(angle))
        points = [(x - w, y - h), (x + w, y + h)]
    else:
        x, y = value['x'] * width / 100, value['y'] * height / 100
        w, h = value['width'] * width / 100, value['height'] * height / 100
        angle = math.radians(value.get('rotation') or 0)
        cos, sin = math.cos(angle), math.sin(angle)
        corners = ((0.0, 0.0), (w, 0.0), (0.0, h), (w, h))
        points = [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in corners]
    return bounds(points)
