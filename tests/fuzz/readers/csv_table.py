"""A CSV table of boxes."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from mmfrcnn.data.formats.csv_table import read_csv
from tests.fuzz.reader import NoOpinionError, Reader
from tests.fuzz.texts import changed_bytes, changed_text, encoded, put

HEAD = 'filename,xmin,ymin,xmax,ymax,label\n'
ROWS = 'a.png,1,2,10.5,20,cat\na.png,0,0,40,30,dog\nb.png,,,,,\n'


def prepare(folder: Path) -> None:
    """Write the images."""
    for name in 'ab':
        Image.new('L', (40, 30)).save(folder / f'{name}.png')


def write(rng: Random, folder: Path) -> bool:
    """Write a table."""
    kind = rng.random()
    if kind < 0.03:
        text = HEAD + ROWS
        ending = rng.choice(['\n', '\r\n', '\r'])
        if rng.random() < 0.5:
            text = text.replace('.5', ',5').replace(',', ';').replace('10;5', '10,5')
        content = text.replace('\n', ending).encode(rng.choice(['utf-8', 'utf-8-sig']))
        put(rng, folder / 't.csv', content, is_whole=True)
        return True
    head = rng.choice([HEAD, HEAD, HEAD, '', HEAD.replace(',', ';'), HEAD.upper()])
    text = changed_text(rng, head + ROWS, rng.choice([1, 1, 2, 3]))
    content = encoded(rng, text)
    put(rng, folder / 't.csv', changed_bytes(rng, content) if kind > 0.95 else content)
    return False


def read(folder: Path) -> Any:
    """Read it as the data set does."""
    labels, pictures = read_csv(folder / 't.csv', folder)
    return labels, {
        one.title: [(found.class_name, found.box) for found in one.objects]
        for one in pictures
    }


def reference(folder: Path) -> Any:
    """Read it with Python's module, where it is of commas and has the usual names."""
    text = (folder / 't.csv').read_bytes().decode('utf-8-sig')
    if not text.lower().startswith(HEAD.strip()) or '\r' in text[:40]:
        raise NoOpinionError
    rest = text.partition('\n')[2]
    rows = csv.reader(io.StringIO(rest, newline=''), strict=True)
    found: dict[str, list] = {}
    for row in rows:
        if not row:
            continue
        name, *sides, label = (field.strip() for field in row)
        objects = found.setdefault(name, [])
        if any((*sides, label)):
            objects.append((label, tuple(map(float, sides))))
    labels = sorted({label for objects in found.values() for label, _ in objects})
    return labels, found


READERS = [Reader('csv', prepare, write, read, reference, 3)]
