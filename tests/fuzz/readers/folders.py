"""Whole folders: what `mmfrcnn new` and `mmfrcnn convert-dataset` say of them."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from mmfrcnn.cli import UNUSABLE_PATH, new
from mmfrcnn.data.conversion.convert import convert
from mmfrcnn.errors import UserError
from tests.fuzz.reader import Reader, no_opinion
from tests.fuzz.readers import coco, csv_table, voc, yolo
from tests.fuzz.texts import changed_bytes, changed_text, encoded, put
from tests.fuzz.trees import as_json, changed

KINDS = ('coco', 'voc', 'yolo', 'csv')


def prepare(folder: Path) -> None:
    """Need nothing beforehand: each case is a folder of its own."""


def write(rng: Random, folder: Path) -> bool:
    """Write a data set of one format, one of whose files is changed."""
    root = folder / 'set'
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(folder / 'set.splits', ignore_errors=True)
    (folder / 'new.py').unlink(missing_ok=True)
    kind = rng.choice(KINDS)
    texts = FILES[kind](rng)
    target = rng.choice(sorted(texts))
    is_valid = rng.random() < 0.02
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name != target or is_valid:
            path.write_text(text)
        elif name.endswith('.json') and rng.random() < 0.8:
            put(rng, path, encoded(rng, as_json(rng, changed(rng, json.loads(text)))))
        elif rng.random() < 0.9:
            put(rng, path, encoded(rng, changed_text(rng, text, rng.choice([1, 2]))))
        else:
            put(rng, path, changed_bytes(rng, text.encode()))
    for name in IMAGES[kind]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', (40, 30), 7 * ord(name[-5])).save(path)
    (folder / 'kind').write_text(kind)
    return is_valid


def _yolo(rng: Random) -> dict[str, str]:
    labels = {f'labels/train/{name}.txt': yolo.LABELS for name in 'abc'}
    return {**labels, 'data.yaml': yolo.NAMES}


FILES = {
    'coco': lambda rng: {
        'annotations/instances_train.json': json.dumps(coco.valid()),
    },
    'voc': lambda rng: {
        **{f'Annotations/{name}.xml': voc.VALID for name in 'abc'},
        'ImageSets/Main/train.txt': 'a\nb\nc\n',
        **({'classes.txt': 'cat\ndog\n'} if rng.random() < 0.5 else {}),
    },
    'yolo': _yolo,
    'csv': lambda rng: {'boxes.csv': csv_table.HEAD + csv_table.ROWS + 'c.png,,,,,\n'},
}
FOLDERS = {'coco': 'train/', 'voc': 'JPEGImages/', 'yolo': 'images/train/', 'csv': ''}
IMAGES = {k: [f'{folder}{name}.png' for name in 'abc'] for k, folder in FOLDERS.items()}


def read_new(folder: Path) -> Any:
    """Look at the folder and write a config for it."""
    arguments = argparse.Namespace(
        data=str(folder / 'set'),
        out=str(folder / 'new.py'),
        format=None,
        flip=None,
        seed=0,
    )
    try:
        new.run(arguments)
    except UNUSABLE_PATH as error:
        raise UserError(f'{error.filename}: {error.strerror}') from error


def read_conversion(folder: Path) -> Any:
    """Convert it, written and all."""
    kind = (folder / 'kind').read_text()
    if kind == 'csv':
        return
    other = 'coco' if kind != 'coco' else 'yolo'
    target = folder / 'out'
    shutil.rmtree(target, ignore_errors=True)
    report = convert(
        folder / 'set', target, source_format=kind, target_format=other, images='none'
    )
    report.encode()


READERS = [
    Reader('new', prepare, write, read_new, no_opinion, 0.03),
    Reader('conversion', prepare, write, read_conversion, no_opinion, 1),
]
