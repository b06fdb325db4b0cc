"""predictions.json: what a journal of predictions holds, as a COCO file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from mmfrcnn.cli.journal import Journal
from mmfrcnn.cli.sources import Pictures, Video
from mmfrcnn.files import written_whole


def write_predictions(
    path: Path, source: Pictures | Video, journal: Journal, classes: Sequence[str]
) -> int:
    """Write the COCO file, an image at a time; return the number of detections.

    Args:
        path (Path): The file.
        source (Pictures | Video): The images, in the order of their ids.
        journal (Journal): Their predictions; images that it lacks are left out.
        classes (Sequence[str]): The names of categories 1, 2 and so on.
    """
    categories = [{'id': label, 'name': name} for label, name in enumerate(classes, 1)]
    total = 0
    with written_whole(path) as stream:
        stream.write(b'{"images": [')
        for place, (number, entry) in enumerate(_done(source, journal)):
            stream.write(_item(_image(number, entry), is_first=place == 0))
        between = f'], "categories": {json.dumps(categories)}, "annotations": ['
        stream.write(between.encode())
        for number, entry in _done(source, journal):
            for detection in entry['detections']:
                annotation = _annotation(detection, number, total + 1)
                stream.write(_item(annotation, is_first=total == 0))
                total += 1
        stream.write(b']}')
    return total


def _done(
    source: Pictures | Video, journal: Journal
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the id and the entry of each image that is finished as it is now."""
    for index in range(len(source)):
        name = source.name(index)
        if journal.is_done(name, source.version(index)):
            yield index + 1, journal[name]


def _item(value: dict[str, Any], is_first: bool) -> bytes:
    return (('' if is_first else ', ') + json.dumps(value)).encode()


def _image(number: int, entry: dict[str, Any]) -> dict[str, Any]:
    size = {'width': entry['width'], 'height': entry['height']}
    return {'id': number, 'file_name': entry['name'], **size}


def _annotation(
    detection: dict[str, Any], image_number: int, number: int
) -> dict[str, Any]:
    width, height = detection['bbox'][2:]
    area = width * height
    if 'segmentation' in detection:
        area = float(coco_mask.area(detection['segmentation']))
    own = {'id': number, 'image_id': image_number, 'area': area, 'iscrowd': 0}
    return {**detection, **own}
