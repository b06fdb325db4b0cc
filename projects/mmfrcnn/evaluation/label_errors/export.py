"""The list as a data set that annotation tools open, to be looked through."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmfrcnn.evaluation.label_errors.rules import LabelError
from mmfrcnn.evaluation.ledger.columns import Columns


def write_label_errors(
    path: str | Path, errors: Sequence[LabelError], columns: Columns
) -> None:
    """Write suggestions as COCO JSON, which CVAT, Label Studio and FiftyOne import.

    An annotation is the box and class that are suggested, or for a duplicate those to
    be removed. What is wrong is in its ``attributes``, as CVAT writes them: ``kind``,
    ``certainty`` and ``given``, the label so far. Images without suggestions are left
    out; the others, and the annotations, are in the order of the list.

    Args:
        path (str | Path): The file.
        errors (Sequence[LabelError]): Of :func:`label_errors`, all or some of them.
        columns (Columns): That they were found in.
    """
    ids = {image: place for place, image in enumerate(_in_order(errors), start=1)}
    names = _file_names([str(columns.image_path[image]) for image in ids])
    images = [
        {
            'id': ids[image],
            'file_name': name,
            'width': int(columns.image_size[image, 0]),
            'height': int(columns.image_size[image, 1]),
        }
        for image, name in zip(ids, names, strict=True)
    ]
    classes = [str(name) for name in columns.classes]
    categories = [
        {'id': place, 'name': name} for place, name in enumerate(classes, start=1)
    ]
    category = {name: place for place, name in enumerate(classes, start=1)}
    content = {
        'images': images,
        'categories': categories,
        'annotations': [
            {'id': place, **_annotation(error, ids[error.image], category)}
            for place, error in enumerate(errors, start=1)
        ],
    }
    Path(path).write_text(json.dumps(content, indent=1, ensure_ascii=False), 'utf-8')


def _in_order(errors: Sequence[LabelError]) -> list[int]:
    return list(dict.fromkeys(error.image for error in errors))


def _annotation(
    error: LabelError, image: int, category: dict[str, int]
) -> dict[str, Any]:
    x1, y1, x2, y2 = error.suggested_box or error.box
    label = error.suggested_label or error.label
    assert label is not None
    return {
        'image_id': image,
        'category_id': category[label],
        'bbox': [x1, y1, x2 - x1, y2 - y1],
        'area': (x2 - x1) * (y2 - y1),
        'iscrowd': 0,
        'attributes': {
            'kind': error.kind,
            'certainty': error.certainty,
            'given': error.label or '',
        },
    }


def _file_names(paths: Sequence[str]) -> list[str]:
    """Name files from the folder that they share."""
    try:
        shared = os.path.commonpath([os.path.dirname(path) for path in paths])
        return [Path(os.path.relpath(path, shared or '.')).as_posix() for path in paths]
    except ValueError:  # no images, no names, or relative and absolute ones
        return list(paths)
