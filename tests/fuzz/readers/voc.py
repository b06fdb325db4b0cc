"""Pascal VOC: one XML file, and the lists of names beside many."""

from __future__ import annotations

import codecs
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from mmfrcnn.data.conversion.read import read_splits
from mmfrcnn.data.formats.voc import read_voc
from tests.fuzz.reader import NoOpinionError, Reader
from tests.fuzz.texts import changed_bytes, changed_text, encoded, put
from tests.fuzz.values import NUMBER_TEXTS, TEXTS

OBJECT = """<object><name>{}</name><pose>Left</pose><difficult>{}</difficult>
<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""
VALID = (
    '<annotation><folder>x</folder><filename>a.png</filename><size><width>40</width>'
    '<height>30</height><depth>3</depth></size>'
    + OBJECT.format('cat', 0, 2, 3, 12, 11.5)
    + OBJECT.format('dog', 1, 20, 10, 40, 30)
    + '</annotation>'
)
SIDES = ('xmin', 'ymin', 'xmax', 'ymax')


def write(rng: Random, folder: Path) -> bool:
    """Write one XML file."""
    kind = rng.random()
    if kind < 0.02:
        encoding = rng.choice(['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le'])
        head = rng.choice(
            ['', '<?xml version="1.0"?>\n', '<?xml version="1.0"?><!-- -->']
        )
        put(rng, folder / 'a.xml', (head + VALID).encode(encoding), is_whole=True)
        return True
    if kind < 0.7:
        root = ElementTree.fromstring(VALID)
        for _ in range(rng.choice([1, 1, 2, 3])):
            _change(rng, root)
        text = ElementTree.tostring(root, 'unicode')
        if rng.random() < 0.1:
            text = f'<?xml version="1.0" encoding="{rng.choice(CODECS)}"?>{text}'
    else:
        text = changed_text(rng, VALID, rng.choice([1, 2]))
    content = encoded(rng, text)
    put(rng, folder / 'a.xml', changed_bytes(rng, content) if kind > 0.95 else content)
    return False


CODECS = (
    *('utf-8', 'latin1', 'gbk', 'gb2312', 'utf-16', 'ascii', 'big5', 'shift_jis', 'x'),
    *(
        'rot13',
        'zlib',
        'base64',
        'hex',
        'idna',
        'punycode',
        'undefined',
        'utf-7',
        'mbcs',
    ),
    *('unicode_escape', 'raw_unicode_escape', 'utf-8-sig', 'cp037', 'charmap', 'oem'),
)


def _change(rng: Random, root: ElementTree.Element) -> None:
    nodes = list(root.iter())
    node, other = rng.choice(nodes), rng.choice(nodes)
    kind = rng.random()
    if kind < 0.6:
        node.text = rng.choice(NUMBER_TEXTS if rng.random() < 0.7 else TEXTS)
    elif kind < 0.75 and len(other):
        other.remove(rng.choice(list(other)))
    elif kind < 0.9 and len(node) == 0 and other is not node:
        other.append(node)
    else:
        node.tag = other.tag


def read(folder: Path) -> Any:
    """Read it as the data set does."""
    picture = read_voc(folder / 'a.xml')
    objects = [(one.class_name, one.box, one.ignored) for one in picture.objects]
    return picture.width, picture.height, objects


def reference(folder: Path) -> Any:
    """Read it with Python's parser as it is."""
    try:
        root = ElementTree.parse(folder / 'a.xml').getroot()
    except (ElementTree.ParseError, LookupError, ValueError):
        raise NoOpinionError from None  # an encoding that Expat alone does not read
    objects = []
    for node in root:
        if node.tag == 'object':
            parts = {one.tag: one for one in reversed(node)}
            difficult = parts.get('difficult')
            text = (difficult.text or '0').strip() if difficult is not None else '0'
            box = tuple(_number(node, 'bndbox', side) - 1 for side in SIDES)
            name = (parts['name'].text or '').strip()
            objects.append((name, box, text not in ('', '0')))
    width, height = (_number(root, 'size', key) for key in ('width', 'height'))
    return int(width), int(height), objects


def _number(node: ElementTree.Element, *path: str) -> float:
    """Return the number that is the first at a path of tags."""
    found = [node]
    for tag in path:
        found = [inner for one in found for inner in one if inner.tag == tag]
    return float(found[0].text)


# -- A folder of them


def prepare_folder(folder: Path) -> None:
    """Write two images with their annotations."""
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    for name in 'ab':
        Image.new('L', (40, 30)).save(folder / f'JPEGImages/{name}.png')
        (folder / f'Annotations/{name}.xml').write_text(VALID)


def write_folder(rng: Random, folder: Path) -> bool:
    """Write the list of a split and that of classes, one of them changed."""
    listed, classes = 'a\nb\n', 'cat\ndog\n'
    kind = rng.random()
    if kind < 0.05:
        listed = rng.choice([codecs.BOM_UTF8.decode(), '']) + listed
    elif kind < 0.5:
        listed = changed_text(rng, listed, rng.choice([1, 2]))
    else:
        classes = changed_text(rng, classes, rng.choice([1, 2]))
    put(rng, folder / 'ImageSets/Main/train.txt', encoded(rng, listed))
    put(rng, folder / 'classes.txt', encoded(rng, classes))
    return False


def read_folder(folder: Path) -> Any:
    """Read the split as conversion does."""
    (split,) = read_splits(folder, 'voc', None)
    return split.classes, [(one.title, len(one.objects)) for one in split.pictures]


def reference_folder(folder: Path) -> Any:
    """Read the lists by hand."""
    if not (folder / 'classes.txt').is_file():
        raise NoOpinionError
    texts = [
        (folder / name).read_bytes().decode('utf-8-sig').splitlines()
        for name in ('classes.txt', 'ImageSets/Main/train.txt')
    ]
    classes, listed = (
        [line.strip() for line in lines if line.strip()] for lines in texts
    )
    return classes, [(f'{name}.png', 2) for name in listed]


def prepare(folder: Path) -> None:
    """Need nothing beside the file."""


READERS = [
    Reader('voc', prepare, write, read, reference, 5),
    Reader(
        'voc-folder', prepare_folder, write_folder, read_folder, reference_folder, 2
    ),
]
