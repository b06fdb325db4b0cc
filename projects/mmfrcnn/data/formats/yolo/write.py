"""Writing YOLO's format.

::

    labels/SPLIT/a.txt   images/SPLIT/a.jpg   classes.txt   data.yaml

``classes.txt`` keeps the order of the classes.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from mmfrcnn.data.formats.decimals import as_text, exact
from mmfrcnn.data.formats.documents import read_yaml
from mmfrcnn.data.formats.pictures import Object, Picture, Split
from mmfrcnn.data.formats.writing import Images, stem, write_lines, write_text

DIGITS = Decimal('1e-17')


def write_yolo(split: Split, root: Path, place: Images) -> None:
    """Write one split as label files; objects to ignore have no place in the format."""
    for picture in split.pictures:
        place(picture, root / 'images' / split.name / picture.title)
        lines = [
            f'{split.classes.index(found.class_name)} {_relative(found, picture)}'
            for found in picture.objects
            if not found.ignored
        ]
        write_lines(root / 'labels' / split.name / f'{stem(picture)}.txt', lines)
    write_lines(root / 'classes.txt', split.classes)
    path = root / 'data.yaml'
    content = read_yaml(path) if path.exists() else {}
    content[split.name] = f'images/{split.name}'
    content['names'] = dict(enumerate(split.classes))
    write_text(path, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def _relative(found: Object, picture: Picture) -> str:
    x1, y1, x2, y2 = map(exact, found.box)
    values = (
        (x1 + x2) / 2 / picture.width,
        (y1 + y2) / 2 / picture.height,
        (x2 - x1) / picture.width,
        (y2 - y1) / picture.height,
    )
    return ' '.join(as_text(value.quantize(DIGITS)) for value in values)
