"""COCO files as tools write them, made regular.

pycocotools, and mmdet on it, expect what COCO's own files have: positive annotation
ids, ``area`` and ``iscrowd`` everywhere, ids that are numbers, one category a name.
Exports often lack some of it, and then figures are wrong or training dies at its first
evaluation. Here such a file's content is completed, once, for all that read it: the
data set, the metric and the checks. What is wrong beyond that is left for
`read_coco` to name.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets.api_wrappers import COCO, COCOPanoptic

from mmfrcnn.data.formats.documents import read_json
from mmfrcnn.errors import UserError, shown

CROWD = {
    **dict.fromkeys(('1', '1.0', 'true', 'yes'), 1),
    **dict.fromkeys(('0', '0.0', 'false', 'no'), 0),
    **dict.fromkeys(('', 'none', 'null', 'nan'), 0),  # nothing is said
}
"""What ``iscrowd`` may be, as text in lower case."""
LARGEST_AREA = sys.float_info.max
LARGEST_ID = 2**53
"""pycocotools keeps ids as float64, exact up to here."""


def load_coco(path: str | Path, notes: list[str] | None = None) -> Any:
    """Read a COCO file in any UTF, and make it regular.

    Args:
        path (str | Path): The file.
        notes (list[str] | None): Gets a line for each thing that was completed.

    Raises:
        OSError: If it cannot be read.
        UserError: If it is no JSON, or what it says can be taken in two ways, by name.
    """
    content = read_json(Path(path))
    try:
        return make_regular(content, notes)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error


def make_regular(content: Any, notes: list[str] | None = None) -> Any:
    """Complete the content of a COCO file in place, and return it.

    - Images and categories: where some ids are numbers and some are texts, all become
      texts, as the evaluator compares only ids of one kind.
    - Categories: names are texts; of several with one name the first that has
      annotations stands for all.
    - Annotations: ``iscrowd`` is 0 or 1, 0 where it is missing; a missing, zero or
      undefined ``area`` is that of the box; the ids of their image and category are of
      the kind that these have; ids of their own that pycocotools cannot tell from
      "none" (0) or cannot hold are counted anew from 1.

    Raises:
        UserError: If ``iscrowd`` is none of `CROWD`, or if the ids of two images or
            categories differ only in being number or text.

    Example:
        >>> content = {'images': [{'id': 7}], 'categories': [{'id': 1, 'name': 'cat'}]}
        >>> box = {'id': 0, 'image_id': '7', 'category_id': 1, 'bbox': [0, 0, 2, 3]}
        >>> make_regular({**content, 'annotations': [box]})['annotations']
        [{'id': 1, 'image_id': 7, 'category_id': 1, 'bbox': [0, 0, 2, 3], \
'iscrowd': 0, 'area': 6.0}]
    """
    if not isinstance(content, dict):
        return content
    notes = [] if notes is None else notes
    annotations = _entries(content, 'annotations')
    images = _ids_of_one_kind(content, 'images', notes)
    _ids_of_one_kind(content, 'categories', notes)
    _regular_categories(content, annotations, notes)
    categories = _ids(content, 'categories')
    changed: Counter[str] = Counter()
    for entry in annotations:
        if 'bbox' not in entry:
            continue
        completed = {
            'image_id': _known_id(entry.get('image_id'), images),
            'category_id': _known_id(entry.get('category_id'), categories),
            'iscrowd': _crowd(entry),
            'area': _area(entry),
        }
        changed.update(
            _STEPS[key] for key, value in completed.items() if entry.get(key) != value
        )
        entry.update(completed)
    notes += [f'{number} annotations {what}' for what, number in changed.items()]
    if _count_anew(annotations):
        notes.append('annotation ids are counted anew, from 1')
    return content


_STEPS = {
    'image_id': 'with an image_id that is text for a number, or the reverse',
    'category_id': 'with a category_id that is text for a number, or the reverse',
    'iscrowd': 'without an iscrowd of 0 or 1: taken for 0 unless it says otherwise',
    'area': 'without a usable area: that of the box is taken',
}


def _entries(content: Mapping, key: str) -> list[dict]:
    table = content.get(key)
    table = table if isinstance(table, list) else []
    return [one for one in table if isinstance(one, dict)]


def _regular_categories(
    content: dict, annotations: Iterable[dict], notes: list[str]
) -> None:
    categories = _entries(content, 'categories')
    if not categories or len(categories) != len(content['categories']):
        return
    if any(
        one.get('id') is None or not isinstance(one.get('name'), str | int | float)
        for one in categories
    ):
        return
    used = Counter(str(one.get('category_id')).strip() for one in annotations)
    for one in categories:
        one['name'] = str(one['name'])
    notes += [
        f'category {name!r} has no annotations and only groups others: it is left out '
        'where classes are read from the file'
        for name in grouping(
            categories, {one['name'] for one in categories if used[str(one['id'])]}
        )
    ]
    names = Counter(one['name'] for one in categories)
    notes += [
        f'{number} categories are named {name!r}: they are taken for one'
        for name, number in names.items()
        if number > 1
    ]
    first: dict[str, dict] = {}
    for one in sorted(categories, key=lambda one: not used[str(one['id'])]):
        first.setdefault(one['name'], one)
    same = {str(one['id']): first[one['name']]['id'] for one in categories}
    for entry in annotations:
        category = str(entry.get('category_id')).strip()
        if category in same and str(same[category]) != category:
            entry['category_id'] = same[category]
    content['categories'] = [one for one in categories if first[one['name']] is one]


def grouping(categories: Sequence[Mapping], used: Container[str]) -> list[str]:
    """Return the names of the categories that only group others.

    They have no annotations, and another category names them as its supercategory, as
    Roboflow writes of its root, with id 0, and taxonomies of each inner node.

    Args:
        categories (Sequence[Mapping]): The categories of a file.
        used (Container[str]): The names of those that have annotations.
    """
    pairs = [
        (str(one.get('name')), str(one.get('supercategory'))) for one in categories
    ]
    groups = {above for name, above in pairs if above != name}
    own = {name for name, above in pairs if above == name}  # as COCO's person
    names = dict.fromkeys(name for name, _ in pairs)
    return [name for name in names if name in groups - own and name not in used]


def _ids(content: Mapping, key: str) -> dict[str, Any]:
    """Return the ids of a table by their text."""
    entries = _entries(content, key)
    return {str(one.get('id')).strip(): one.get('id') for one in entries}


def _ids_of_one_kind(content: Mapping, key: str, notes: list[str]) -> dict[str, Any]:
    """Make ids texts where only some are, and return the ids by their text."""
    entries = [one for one in _entries(content, key) if one.get('id') is not None]
    if len({isinstance(one['id'], str) for one in entries}) > 1:
        kinds: dict[str, Any] = {}
        for one in entries:
            text = str(one['id']).strip()
            if kinds.setdefault(text, one['id']) != one['id']:
                raise UserError(
                    f'{key}: two have the id {shown(text)}, one as a number and one as '
                    'text. Give one of them another id'
                )
        for one in entries:
            one['id'] = str(one['id']).strip()
        notes.append(
            f'{key}: some ids are numbers and some are texts: all become texts'
        )
    return _ids(content, key)


def _known_id(value: Any, known: Mapping[str, Any]) -> Any:
    """Return the id that is meant, of the kind that the table has."""
    return known.get(str(value).strip(), value)


def _crowd(entry: Mapping) -> int:
    value = entry.get('iscrowd')
    crowd = CROWD.get(str(value).strip().lower())
    if crowd is None:
        raise UserError(
            f'annotations: id {shown(entry.get("id"))}: iscrowd is {shown(value)}. '
            'Write 1 for a crowd and 0 for a single object'
        )
    return crowd


def _area(entry: dict) -> Any:
    """Return the annotated area, or that of the box where there is none to use."""
    area = entry.get('area')
    if isinstance(area, int | float) and 0 < area <= LARGEST_AREA:
        return area
    try:
        _, _, width, height = (float(side) for side in entry['bbox'])
    except (TypeError, ValueError, OverflowError):  # named by `read_coco`
        return area
    area = max(width, 0.0) * max(height, 0.0)
    return area if math.isfinite(area) else 0.0  # of a box that is no box


def _count_anew(annotations: list[dict]) -> bool:
    ids = [one.get('id') for one in annotations]
    usable = all(
        isinstance(one, int) and not isinstance(one, bool) and 0 < one <= LARGEST_ID
        for one in ids
    )
    # Missing and repeated ids are mistakes, which are named elsewhere.
    if usable or None in ids or len(set(map(str, ids))) < len(ids):
        return False
    for number, entry in enumerate(annotations, 1):
        entry['id'] = number
    return True


def _init(self: COCO, annotation_file: str | Path | None = None) -> None:
    """Stand for the constructor of mmdet's ``COCO``, which reads a file as it is."""
    if annotation_file is None or isinstance(self, COCOPanoptic):
        _init_as_it_is(self, annotation_file)
    else:
        _init_as_it_is(self)
        self.dataset = load_coco(annotation_file)
        assert isinstance(self.dataset, dict), f'{annotation_file}: not a COCO file'
        # The evaluator would count a box that is not finite as missed.
        self.dataset['annotations'] = [
            entry
            for entry in self.dataset.get('annotations', ())
            if math.isfinite(sum(entry.get('bbox', ())))
        ]
        self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs


_init_as_it_is = COCO.__init__


def install() -> None:
    """Have mmdet's ``COCO``, of its data sets and metrics, read files by `load_coco`.

    Panoptic files are read as they are.
    """
    if COCO.__init__ is not _init:
        COCO.__init__ = _init
