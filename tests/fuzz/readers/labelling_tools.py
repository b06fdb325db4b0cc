"""LabelMe's and Label Studio's own JSON."""

from __future__ import annotations

import cmath
import json
import math
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from mmfrcnn.data.formats.label_studio import read_label_studio
from mmfrcnn.data.formats.labelme import read_labelme
from tests.fuzz.reader import Reader
from tests.fuzz.texts import changed_bytes, changed_text, encoded, put
from tests.fuzz.trees import as_json, changed


def prepare(folder: Path) -> None:
    """Write the image."""
    Image.new('L', (40, 30)).save(folder / 'a.png')


def write(rng: Random, path: Path, tree: Any) -> bool:
    """Write a tree of JSON, changed in its values, its text or its bytes."""
    kind = rng.random()
    if kind < 0.02:
        encoding = rng.choice(['utf-8', 'utf-8-sig', 'utf-16'])
        put(rng, path, json.dumps(tree).encode(encoding), is_whole=True)
        return True
    if kind < 0.85:
        content = encoded(
            rng, as_json(rng, changed(rng, tree, rng.choice([1, 1, 2, 3])))
        )
    elif kind < 0.95:
        content = encoded(rng, changed_text(rng, json.dumps(tree)))
    else:
        content = changed_bytes(rng, json.dumps(tree).encode())
    put(rng, path, content)
    return False


# -- LabelMe


def write_labelme(rng: Random, folder: Path) -> bool:
    """Write the file of one image."""
    kinds = {
        'rectangle': [[30, 20.5], [1, 2]],
        'polygon': [[1, 1], [5, 1], [3, 9]],
        'circle': [[10, 10], [13, 14]],
        'line': [[0, 0], [5, 5]],
    }
    shapes = [
        {'label': label, 'points': points, 'shape_type': kind, 'flags': {}}
        for label, (kind, points) in zip('cdcc', kinds.items(), strict=True)
    ]
    tree = {
        **{'version': '5.0', 'flags': {}, 'shapes': shapes, 'imagePath': '..\\a.png'},
        **{'imageData': None, 'imageHeight': 30, 'imageWidth': 40},
    }
    return write(rng, folder / 'a.json', tree)


def read_labelme_file(folder: Path) -> Any:
    """Read the folder."""
    labels, pictures = read_labelme(folder, folder)
    return labels, [
        [(one.class_name, one.box, one.left_out is not None) for one in picture.objects]
        for picture in pictures
    ]


def labelme_reference(folder: Path) -> Any:
    """Read the file by hand."""
    content = json.loads((folder / 'a.json').read_bytes())
    objects = []
    for shape in content['shapes']:
        kind = str(shape.get('shape_type') or 'polygon')
        points = [complex(float(x), float(y)) for x, y in shape['points']]
        if kind == 'circle':
            radius = abs(points[1] - points[0])
            points = [points[0] + radius * turn for turn in (1, 1j, -1, -1j)]
        boxless = kind in ('point', 'points', 'line', 'linestrip')
        objects.append((str(shape['label']).strip(), _bounds(points), boxless))
    return sorted({one[0] for one in objects}), [objects]


def _bounds(points: list[complex]) -> tuple[float, ...]:
    xs, ys = [p.real for p in points], [p.imag for p in points]
    if not all(map(math.isfinite, xs + ys)):
        return (math.nan,) * 4
    return min(xs), min(ys), max(xs), max(ys)


# -- Label Studio

KINDS = ('rectanglelabels', 'polygonlabels', 'ellipselabels')


def write_label_studio(rng: Random, folder: Path) -> bool:
    """Write an export of two tasks, one of them without a shape."""
    values = [
        {
            'x': 5,
            'y': 10,
            'width': 50,
            'height': 20.5,
            'rotation': 0,
            'rectanglelabels': ['c'],
        },
        {
            'x': 30,
            'y': 10,
            'width': 40,
            'height': 20,
            'rotation': 30,
            'rectanglelabels': ['d'],
        },
        {'points': [[1, 1], [50, 2], [9, 70]], 'polygonlabels': ['c']},
        {'x': 50, 'y': 50, 'radiusX': 10, 'radiusY': 20, 'ellipselabels': ['d']},
    ]
    shapes = [
        {'type': 'x', 'original_width': 40, 'original_height': 30, 'value': value}
        for value in values
    ]
    tasks: Any = [
        {'id': 1, 'data': {'image': '/data/upload/1/3a1b2c4d-a.png'},
         'annotations': [{'id': 1, 'was_cancelled': False, 'result': shapes}]},
        {'id': 2, 'data': {'image': 'a.png'}, 'annotations': []},
    ]  # fmt: skip
    if rng.random() < 0.2:
        tasks = [{'id': 1, 'image': 'a.png', 'label': values}]
    return write(rng, folder / 'e.json', tasks)


def read_label_studio_file(folder: Path) -> Any:
    """Read the export."""
    labels, pictures = read_label_studio(folder / 'e.json', folder, [])
    return labels, [
        [(one.class_name, one.box) for one in picture.objects] for picture in pictures
    ]


def label_studio_reference(folder: Path) -> Any:
    """Read the export by hand, with turns as complex numbers."""
    content = json.loads((folder / 'e.json').read_bytes())
    pictures = []
    for task in content:
        if 'annotations' in task or 'completions' in task:
            done = task.get('annotations') or task.get('completions') or []
            done = [one for one in done if not one.get('was_cancelled')]
            done = [one for one in done if one.get('ground_truth')] or done
            if not done:
                continue
            values = [one.get('value') or {} for one in done[0]['result']]
        else:
            tables = [one for one in task.values() if isinstance(one, list)]
            shapes = [one for table in tables for one in table if isinstance(one, dict)]
            values = [one.get('value', one) for one in shapes]
        objects = []
        for value in filter(None, values):
            kind = next((k for k in KINDS if value.get(k)), None)
            if kind is not None:
                objects.append((str(value[kind][0]).strip(), _of_value(value)))
        pictures.append(objects)
    return sorted({one[0] for objects in pictures for one in objects}), pictures


def _of_value(value: dict) -> tuple[float, ...]:
    if 'points' in value:
        return _bounds([complex(x * 0.4, y * 0.3) for x, y in value['points']])
    start = complex(value['x'] * 0.4, value['y'] * 0.3)
    turn = cmath.exp(1j * math.radians(value.get('rotation') or 0))
    if 'radiusX' in value:
        a, b = value['radiusX'] * 0.4, value['radiusY'] * 0.3
        w, h = (
            abs(complex(a * turn.real, b * turn.imag)),
            abs(complex(a * turn.imag, b * turn.real)),
        )
        return _bounds([start - complex(w, h), start + complex(w, h)])
    w, h = value['width'] * 0.4, value['height'] * 0.3
    return _bounds([start + turn * complex(u, v) for u in (0, w) for v in (0, h)])


READERS = [
    Reader('labelme', prepare, write_labelme, read_labelme_file, labelme_reference, 2),
    Reader(
        *('label-studio', prepare, write_label_studio),
        *(read_label_studio_file, label_studio_reference, 2),
    ),
]
