"""Writing COCO instances files.

::

    annotations/instances_SPLIT.json   SPLIT/a.jpg
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from mmfrcnn.data.formats.coco.read import INSTANCES
from mmfrcnn.data.formats.decimals import exact
from mmfrcnn.data.formats.pictures import Split
from mmfrcnn.data.formats.writing import Images, write_text


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
            x1, y1, x2, y2 = map(exact, found.box)
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
    write_text(path, json.dumps(content, ensure_ascii=False))


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
