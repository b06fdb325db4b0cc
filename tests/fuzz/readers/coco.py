"""COCO: what is read, what mmdet's data set holds of it, and what is reported."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from mmdet.datasets import CocoDataset
from pycocotools.coco import COCO

from mmfrcnn.data.class_names import read_coco_names
from mmfrcnn.data.formats.coco.read import read_coco
from mmfrcnn.data.formats.pictures import why_left_out
from tests.fuzz.reader import NoOpinionError, Reader
from tests.fuzz.texts import changed_bytes, changed_text, encoded, put
from tests.fuzz.trees import as_json, changed

FILE = 'instances_train.json'


def valid() -> dict[str, Any]:
    """Return a small file with what COCO's hold."""
    images = [
        {'id': i, 'file_name': f'{name}.png', 'width': 40, 'height': 30}
        for i, name in enumerate('abc', 1)
    ]
    boxes = [[1, 2, 10, 8.5], [0.5, 0, 20, 30], [30, 20, 10, 10], [5, 5, 3, 4]]
    annotations = [
        {
            **{'id': i, 'image_id': image, 'category_id': category, 'bbox': box},
            **{'area': box[2] * box[3], 'iscrowd': int(i == 4), 'segmentation': []},
        }
        for i, (image, category, box) in enumerate(
            zip((1, 1, 2, 2), (1, 2, 2, 1), boxes, strict=True), 1
        )
    ]
    categories = [
        {'id': i, 'name': name, 'supercategory': 'animal'}
        for i, name in enumerate(('cat', 'dog'), 1)
    ]
    return {
        **{'info': {'year': 2017}, 'images': images},
        **{'annotations': annotations, 'categories': categories},
    }


def write(rng: Random, folder: Path) -> bool:
    """Write a file with changed values or, now and then, text or bytes."""
    kind = rng.random()
    if kind < 0.02:
        text = json.dumps(_otherwise(rng, valid()), indent=rng.choice([None, 2]))
        encoding = rng.choice(['utf-8', 'utf-8-sig', 'utf-16', 'utf-32'])
        put(rng, folder / FILE, text.encode(encoding), is_whole=True)
        return True
    if kind < 0.85:
        text = as_json(rng, changed(rng, valid(), rng.choice([1, 1, 1, 2, 3])))
        content = encoded(rng, text)
    elif kind < 0.95:
        content = encoded(
            rng, changed_text(rng, json.dumps(valid()), rng.choice([1, 2]))
        )
    else:
        content = changed_bytes(rng, json.dumps(valid()).encode())
    put(rng, folder / FILE, content)
    return False


def _otherwise(rng: Random, tree: dict) -> dict:
    """Say the same otherwise: other ids, other order, ids as texts."""
    for table in ('images', 'annotations', 'categories'):
        rng.shuffle(tree[table])
    if rng.random() < 0.5:
        for one in tree['annotations']:
            one['id'] -= 1  # as Roboflow counts
            one['image_id'] = str(one['image_id'])
    return dict(rng.sample(sorted(tree.items()), len(tree)))


def read(folder: Path) -> Any:
    """Read it as the checks and conversion do."""
    names, pictures, groups = read_coco(folder / FILE)
    fast = read_coco_names(folder / FILE)
    assert list(fast[0]) == [name for name in names if name not in groups], fast
    return names, [
        (
            *(one.title, one.width, one.height),
            [(found.class_name, found.box, found.ignored) for found in one.objects],
        )
        for one in pictures
    ]


def reference(folder: Path) -> Any:
    """Read it by hand, and count with pycocotools."""
    content = json.loads((folder / FILE).read_bytes())

    names = {key(one['id']): str(one['name']) for one in content['categories']}
    pictures: dict[str, Any] = {}
    for one in content['images']:
        title = one.get('file_name')
        if title is None:
            title = '/'.join(one['coco_url'].split('/')[-2:])
        pictures[key(one['id'])] = (title, int(one['width']), int(one['height']), [])
    for one in content['annotations']:
        x, y, w, h = map(float, one['bbox'])
        crowd = str(one.get('iscrowd')).strip().lower() in ('1', '1.0', 'true', 'yes')
        category = key(one['category_id'])
        name = names.get(category, f'category id {one["category_id"]}')
        pictures[key(one['image_id'])][3].append((name, (x, y, x + w, y + h), crowd))
    _count_with_pycocotools(content, pictures)
    return list(dict.fromkeys(_in_order(content, names))), list(pictures.values())


def key(value: Any) -> str:
    """Return the text by which ids are compared."""
    is_whole = isinstance(value, bool) or (isinstance(value, float) and value % 1 == 0)
    return str(int(value) if is_whole else value).strip()


def _in_order(content: dict, names: dict[str, str]) -> list[str]:
    """Of categories with one name, that with annotations has the place."""
    used = {key(one['category_id']) for one in content['annotations']}
    listed = list(names.items())
    first: dict[str, str] = {}
    for number, name in sorted(listed, key=lambda pair: pair[0] not in used):
        first.setdefault(name, number)
    return [name for number, name in listed if first[name] == number]


def _count_with_pycocotools(content: dict, pictures: dict[str, Any]) -> None:
    api = COCO()
    api.dataset = content
    try:
        api.createIndex()
    except (TypeError, KeyError):
        return  # it takes less than the reader does
    for number, one in pictures.items():
        same = [i for i in api.imgs if key(i) == number]
        kinds = [i for i in (*same, number) if i in api.imgToAnns]
        counted = sum(len(api.imgToAnns[i]) for i in dict.fromkeys(kinds))
        if kinds and counted != len(one[3]):
            raise AssertionError(f'pycocotools counts {counted} in image {number}')


def read_data_set(folder: Path) -> Any:
    """Load mmdet's data set, and compare it with what the report says of the file."""
    path = folder / FILE
    names, pictures, groups = read_coco(path)
    classes = [name for name in names if name not in groups]
    dataset = CocoDataset(
        lazy_init=True, ann_file=str(path), metainfo={'classes': classes}
    )
    dataset.data_prefix = {'img': ''}
    held = {one['img_id']: one for one in dataset.load_data_list()}
    by_title = sorted((one['img_path'], len(one['instances'])) for one in held.values())
    wanted = []
    for picture in pictures:
        reasons = [why_left_out(one, picture, classes, 1.0) for one in picture.objects]
        wanted.append((picture.title, reasons.count(None)))
    assert by_title == sorted(wanted), (by_title, sorted(wanted))
    return None


def _nothing(folder: Path) -> Any:
    raise NoOpinionError


def prepare(folder: Path) -> None:
    """Need nothing beside the file."""


READERS = [
    Reader('coco', prepare, write, read, reference, 6),
    Reader('coco-data-set', prepare, write, read_data_set, _nothing, 4),
]
