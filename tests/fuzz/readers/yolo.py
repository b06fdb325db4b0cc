"""YOLO: labels, class names and lists of images."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import yaml
from PIL import Image

from mmfrcnn.data.formats.yolo.dataset import YoloDataset
from tests.fuzz.reader import NoOpinionError, Reader
from tests.fuzz.texts import changed_bytes, changed_text, encoded, put

LABELS = '0 .5 .5 .25 .5\n1 0.25 0.75 0.1 0.2\n0 .1 .1 .5 .1 .5 .5 .1 .5\n'
NAMES = 'path: .\ntrain: images/train\nnc: 2\nnames: [cat, dog]\n'
OTHER_NAMES = 'train: train.txt\nnames:\n  0: cat\n  1: dog\n'
LIST = './images/train/a.png\n./images/train/b.png\n'


def prepare(folder: Path) -> None:
    """Write two images, the labels of one."""
    for name in ('images/train', 'labels/train'):
        (folder / name).mkdir(parents=True)
    for name in 'ab':
        Image.new('L', (40, 30)).save(folder / f'images/train/{name}.png')
    (folder / 'labels/train/b.txt').write_text('1 .5 .5 1 1\n')


def write(rng: Random, folder: Path) -> bool:
    """Write labels, names and a list, one of them changed."""
    labels, names, listed = LABELS, rng.choice([NAMES, OTHER_NAMES]), LIST
    kind, times = rng.random(), rng.choice([1, 1, 2, 3])
    if kind < 0.02:
        listed, labels = listed.replace('\n', '\r\n'), '\ufeff' + labels + '\n \n'
    elif kind < 0.65:
        labels = changed_text(rng, labels, times)
    elif kind < 0.85:
        names = changed_text(rng, names, times)
    else:
        names, listed = OTHER_NAMES, changed_text(rng, listed, times)
    texts = {'labels/train/a.txt': labels, 'data.yaml': names, 'train.txt': listed}
    for name, text in texts.items():
        content = encoded(rng, text) if kind >= 0.02 else text.encode()
        if kind > 0.98:
            content = changed_bytes(rng, content)
        put(rng, folder / name, content, kind < 0.02)
    return kind < 0.02


def read(folder: Path) -> Any:
    """Read the split that data.yaml names."""
    dataset = YoloDataset(
        split='train', data_root=str(folder), lazy_init=True, pipeline=[]
    )
    names, pictures = dataset.read()
    return names, {
        one.image.name: [(found.class_name, found.box) for found in one.objects]
        for one in pictures
    }


def reference(folder: Path) -> Any:
    """Read the labels by hand, in floats, and the names with yaml."""
    content = yaml.safe_load((folder / 'data.yaml').read_bytes().decode('utf-8-sig'))
    names = content['names']
    if isinstance(names, dict):
        names = [name for _, name in sorted((int(i), n) for i, n in names.items())]
    names = [str(name) for name in names]
    if content['train'] not in ('images/train', 'train.txt'):
        raise NoOpinionError
    stems = 'ab'
    if content['train'] == 'train.txt':
        listed = (folder / 'train.txt').read_text('utf-8-sig').splitlines()
        stems = {
            Path(line.strip().replace('\\', '/')).stem
            for line in listed
            if line.strip()
        }
    found = {}
    for stem in stems:
        path = folder / f'labels/train/{stem}.txt'
        text = path.read_bytes().decode('utf-8-sig') if path.exists() else ''
        lines = [line.split() for line in text.splitlines() if line.strip()]
        found[f'{stem}.png'] = [
            (names[int(float(fields[0]))], _box([*map(_number, fields[1:])]))
            for fields in lines
        ]
    return names, found


def _number(text: str) -> float:
    return float('nan') if 'nan' in text.lower() else float(text.replace('_', ''))


def _box(values: list[float]) -> tuple[float, ...]:
    if len(values) == 4:
        x, y, w, h = values
        corners = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    else:
        if any(value - value != 0 for value in values):
            return (float('nan'),) * 4
        xs, ys = values[::2], values[1::2]
        corners = min(xs), min(ys), max(xs), max(ys)
    return tuple(side * size for side, size in zip(corners, (40, 30) * 2, strict=True))


READERS = [Reader('yolo', prepare, write, read, reference, 3)]
