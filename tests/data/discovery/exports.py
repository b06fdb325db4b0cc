"""One small data set as exporters write it: a function each, named as the layout."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48
CLASSES = ['cat', 'dog']
TRUTH = {
    'a.jpg': [('cat', (4, 6, 20, 30)), ('dog', (32, 12, 48, 36))],
    'b.jpg': [('dog', (8, 8, 40, 40))],
    'c.jpg': [('cat', (16, 4, 60, 44))],
    'd.jpg': [('cat', (2, 2, 18, 34)), ('cat', (24, 8, 56, 40))],
}
"""File name to (class, xyxy in pixels); halves and quarters of the sides, so exact."""
SPLITS = {'train': ['a.jpg', 'b.jpg'], 'val': ['c.jpg', 'd.jpg']}
WHOLE = {'all': list(TRUTH)}

LAYOUTS: dict[str, tuple[Callable[[Path], None], str, dict[str, list[str]]]] = {}
"""By name: what writes it, its format, and what its splits have."""


def layout(kind: str, splits: dict[str, list[str]]) -> Callable:
    """Register what writes a layout."""

    def register(write: Callable[[Path], None]) -> Callable[[Path], None]:
        LAYOUTS[write.__name__] = write, kind, splits
        return write

    return register


def picture(path: Path) -> None:
    """Write an image of noise, another one for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(path.name.encode()))
    small = noise.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize((WIDTH, HEIGHT)).save(path)


def write(path: Path, content: object) -> None:
    """Write text, or JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding='utf-8')


# -- COCO


def coco(names: list[str], prefix: str = '') -> dict:
    """Return the content of a COCO file."""
    images, annotations = [], []
    for number, name in enumerate(names, 1):
        size = {'width': WIDTH, 'height': HEIGHT}
        images.append({'id': number, 'file_name': prefix + name, **size})
        for label, (x1, y1, x2, y2) in TRUTH[name]:
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': number,
                    'category_id': CLASSES.index(label) + 1,
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'area': (x2 - x1) * (y2 - y1),
                    'iscrowd': 0,
                }
            )
    categories = [{'id': i, 'name': name} for i, name in enumerate(CLASSES, 1)]
    return {'images': images, 'annotations': annotations, 'categories': categories}


@layout('coco', SPLITS)
def coco_2017(root: Path) -> None:
    for split, names in SPLITS.items():
        write(root / f'annotations/instances_{split}2017.json', coco(names))
        write(root / f'annotations/captions_{split}2017.json', coco(names))
        for name in names:
            picture(root / f'{split}2017' / name)


@layout('coco', SPLITS)
def coco_roboflow(root: Path) -> None:
    write(root / 'README.dataset.txt', 'pets\n1 2 3 4 5 images\n')
    for split, names in SPLITS.items():
        folder = root / ('valid' if split == 'val' else split)
        content = coco(names)
        content['categories'].insert(
            0, {'id': 0, 'name': 'pets', 'supercategory': 'none'}
        )
        for one in content['categories'][1:]:
            one['supercategory'] = 'pets'
        write(folder / '_annotations.coco.json', content)
        for name in names:
            picture(folder / name)


@layout('coco', WHOLE)
def coco_cvat(root: Path) -> None:
    write(root / 'annotations/instances_default.json', coco(list(TRUTH)))
    for name in TRUTH:
        picture(root / 'images/default' / name)


@layout('coco', WHOLE)
def coco_label_studio(root: Path) -> None:
    write(root / 'result.json', coco(list(TRUTH), prefix='images/'))
    for name in TRUTH:
        picture(root / 'images' / name)


@layout('coco', SPLITS)
def coco_one_folder_of_images(root: Path) -> None:
    for split, names in SPLITS.items():
        write(root / f'{split}.json', coco(names))
    for name in TRUTH:
        picture(root / 'images' / name)


# -- YOLO


def yolo(folder: Path, names: list[str], polygons: bool = False) -> None:
    """Write label files."""
    for name in names:
        lines = []
        for label, (x1, y1, x2, y2) in TRUTH[name]:
            a, b, c, d = x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT
            box = [(a + c) / 2, (b + d) / 2, c - a, d - b]
            if polygons:
                box = [a, b, c, b, c, d, a, d]
            lines.append(' '.join(map(repr, [CLASSES.index(label), *box])))
        write((folder / name).with_suffix('.txt'), '\n'.join(lines))


@layout('yolo', SPLITS)
def yolo_ultralytics(root: Path) -> None:
    write(
        root / 'data.yaml',
        'path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n',
    )
    for split, names in SPLITS.items():
        yolo(root / 'labels' / split, names, polygons=split == 'val')
        for name in names:
            picture(root / 'images' / split / name)


@layout('yolo', SPLITS)
def yolo_roboflow(root: Path) -> None:
    write(
        root / 'data.yaml',
        'train: ../train/images\nval: ../valid/images\ntest: ../test/images\n'
        "nc: 2\nnames: ['cat', 'dog']\n",
    )
    for split, names in SPLITS.items():
        folder = root / ('valid' if split == 'val' else split)
        yolo(folder / 'labels', names)
        for name in names:
            picture(folder / 'images' / name)


@layout('yolo', SPLITS)
def yolo_with_a_yaml_of_another_name(root: Path) -> None:
    write(
        root / 'pets.yaml', 'train: images/train\nval: images/val\nnames: [cat, dog]\n'
    )
    for split, names in SPLITS.items():
        yolo(root / 'labels' / split, names)
        for name in names:
            picture(root / 'images' / split / name)


@layout('yolo', WHOLE)
def yolo_beside_the_images(root: Path) -> None:
    yolo(root, list(TRUTH))
    write(root / 'classes.txt', 'cat\ndog\n')
    for name in TRUTH:
        picture(root / name)


@layout('yolo', SPLITS)
def yolo_beside_the_images_in_splits(root: Path) -> None:
    write(root / 'classes.txt', 'cat\ndog\n')
    for split, names in SPLITS.items():
        yolo(root / split, names)
        for name in names:
            picture(root / split / name)


@layout('yolo', WHOLE)
def yolo_images_and_labels(root: Path) -> None:
    write(root / 'classes.txt', 'cat\ndog\n')
    yolo(root / 'labels', list(TRUTH))
    for name in TRUTH:
        picture(root / 'images' / name)


@layout('yolo', {'train': list(TRUTH)})
def yolo_cvat(root: Path) -> None:
    write(root / 'obj.names', 'cat\ndog\n')
    write(root / 'obj.data', 'classes = 2\ntrain = data/train.txt\n')
    write(
        root / 'train.txt', ''.join(f'data/obj_train_data/{name}\n' for name in TRUTH)
    )
    yolo(root / 'obj_train_data', list(TRUTH))
    for name in TRUTH:
        picture(root / 'obj_train_data' / name)


# -- Pascal VOC


def voc(folder: Path, names: list[str]) -> None:
    """Write XML files, which count pixels from 1."""
    for name in names:
        objects = ''.join(
            f'<object><name>{label}</name><bndbox>'
            f'<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>'
            f'<xmax>{x2 + 1}</xmax><ymax>{y2 + 1}</ymax></bndbox></object>'
            for label, (x1, y1, x2, y2) in TRUTH[name]
        )
        write(
            (folder / name).with_suffix('.xml'),
            f'<annotation><filename>{name}</filename><size><width>{WIDTH}</width>'
            f'<height>{HEIGHT}</height></size>{objects}</annotation>',
        )


@layout('voc', SPLITS)
def voc_2007(root: Path) -> None:
    top = root / 'VOC2007'
    voc(top / 'Annotations', list(TRUTH))
    for name in TRUTH:
        picture(top / 'JPEGImages' / name)
    lists = {**SPLITS, 'trainval': list(TRUTH)}
    for split, names in lists.items():
        stems = ''.join(f'{name[:-4]}\n' for name in names)
        write(top / f'ImageSets/Main/{split}.txt', stems)
        write(top / f'ImageSets/Main/cat_{split}.txt', stems)


@layout('voc', WHOLE)
def voc_labelimg(root: Path) -> None:
    voc(root, list(TRUTH))
    for name in TRUTH:
        picture(root / name)


@layout('voc', SPLITS)
def voc_roboflow(root: Path) -> None:
    for split, names in SPLITS.items():
        folder = root / ('valid' if split == 'val' else split)
        voc(folder, names)
        for name in names:
            picture(folder / name)


@layout('voc', WHOLE)
def voc_without_lists(root: Path) -> None:
    voc(root / 'annotations', list(TRUTH))
    for name in TRUTH:
        picture(root / 'images' / name)


@layout('voc', WHOLE)
def voc_cvat(root: Path) -> None:
    voc(root / 'Annotations', list(TRUTH))
    stems = ''.join(f'{name[:-4]}\n' for name in TRUTH)
    write(root / 'ImageSets/Main/default.txt', stems)
    for name in TRUTH:
        picture(root / 'JPEGImages' / name)


# -- CSV


def table(names: list[str], header: str, row: str) -> str:
    """Return a table; ``row`` is a format of name, label and sides."""
    lines = [header] * bool(header)
    for name in names:
        for label, (x1, y1, x2, y2) in TRUTH[name]:
            sides = dict(x1=x1, y1=y1, x2=x2, y2=y2)
            lines.append(row.format(name=name, label=label, **sides))
    return '\n'.join(lines) + '\n'


@layout('csv', SPLITS)
def csv_roboflow(root: Path) -> None:
    """TensorFlow's: width and height are the image's."""
    for split, names in SPLITS.items():
        folder = root / ('valid' if split == 'val' else split)
        header = 'filename,width,height,class,xmin,ymin,xmax,ymax'
        row = '{name},64,48,{label},{x1},{y1},{x2},{y2}'
        write(folder / '_annotations.csv', table(names, header, row))
        for name in names:
            picture(folder / name)


@layout('csv', WHOLE)
def csv_vott(root: Path) -> None:
    header = '"image","xmin","ymin","xmax","ymax","label"'
    row = '"{name}",{x1}.0,{y1}.0,{x2}.0,{y2}.0,"{label}"'
    write(root / 'vott-csv-export/pets-export.csv', table(list(TRUTH), header, row))
    for name in TRUTH:
        picture(root / 'vott-csv-export' / name)


@layout('csv', WHOLE)
def csv_keras_retinanet(root: Path) -> None:
    row = 'images/{name},{x1},{y1},{x2},{y2},{label}'
    write(root / 'annotations.csv', table(list(TRUTH), '', row))
    write(root / 'classes.csv', 'cat,0\ndog,1\n')
    for name in TRUTH:
        picture(root / 'images' / name)


@layout('csv', WHOLE)
def csv_semicolons(root: Path) -> None:
    row = '{name};{label};{x1},0;{y1},0;{x2},0;{y2},0'
    write(
        root / 'boxes.csv',
        table(list(TRUTH), 'Image;Class;X1;Y1;X2;Y2', row),
    )
    for name in TRUTH:
        picture(root / 'images' / name)


# -- JSON of labelling tools


def labelme(folder: Path, names: list[str]) -> None:
    """Write LabelMe's files: rectangles, drawn from any corner, and outlines."""
    for name in names:
        shapes = [
            {
                'label': label,
                'points': [[x2, y1], [x1, y2]]
                if number == 0
                else [[x1, y1], [x2, y1], [x2, y2], [x1, y2]],
                'shape_type': 'polygon' if number else 'rectangle',
                'flags': {},
            }
            for number, (label, (x1, y1, x2, y2)) in enumerate(TRUTH[name])
        ]
        content = {
            'version': '5.5.0',
            'shapes': shapes,
            'imagePath': name,
            'imageData': None,
            'imageHeight': HEIGHT,
            'imageWidth': WIDTH,
        }
        write((folder / name).with_suffix('.json'), content)


@layout('labelme', WHOLE)
def labelme_in_one_folder(root: Path) -> None:
    labelme(root, list(TRUTH))
    for name in TRUTH:
        picture(root / name)


@layout('labelme', SPLITS)
def labelme_in_splits(root: Path) -> None:
    for split, names in SPLITS.items():
        labelme(root / split, names)
        for name in names:
            picture(root / split / name)


def label_studio_shapes(name: str) -> list[dict]:
    """Return the shapes of an image, sides in percent."""
    return [
        {
            'x': 100 * x1 / WIDTH,
            'y': 100 * y1 / HEIGHT,
            'width': 100 * (x2 - x1) / WIDTH,
            'height': 100 * (y2 - y1) / HEIGHT,
            'rotation': 0,
            'rectanglelabels': [label],
        }
        for label, (x1, y1, x2, y2) in TRUTH[name]
    ]


@layout('label_studio', WHOLE)
def label_studio(root: Path) -> None:
    tasks = []
    for number, name in enumerate(TRUTH, 1):
        result = [
            {
                'type': 'rectanglelabels',
                'original_width': WIDTH,
                'original_height': HEIGHT,
                'value': shape,
            }
            for shape in label_studio_shapes(name)
        ]
        tasks.append(
            {
                'id': number,
                'data': {'image': f'/data/upload/1/3a1b2c{number}d-{name}'},
                'annotations': [{'id': 1, 'was_cancelled': False, 'result': result}],
            }
        )
        picture(root / 'images' / name)
    write(root / 'project-1-at-2026.json', tasks)


@layout('label_studio', WHOLE)
def label_studio_min(root: Path) -> None:
    tasks = []
    for number, name in enumerate(TRUTH, 1):
        size = {'original_width': WIDTH, 'original_height': HEIGHT}
        shapes = [{**shape, **size} for shape in label_studio_shapes(name)]
        image = f'/data/local-files/?d=photos/{name}'
        tasks.append({'image': image, 'id': number, 'label': shapes})
        picture(root / 'photos' / name)
    write(root / 'export.json', tasks)
