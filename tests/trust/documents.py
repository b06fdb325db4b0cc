"""Texts that came with a data set and are more than its values: one row a kind."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

TAGS = (
    '!!python/object/apply:os.system ["touch {mark}"]',
    '!!python/object/apply:subprocess.Popen [["touch", "{mark}"]]',
    '!!python/object/new:tests.trust.pickles.Toucher ["{mark}"]',
    '!!python/object/new:tests.trust.pickles.Toucher {{state: "{mark}"}}',
    '!!python/object:tests.trust.pickles.Toucher {{a: 1}}',
    '!!python/name:os.system ""',
    '!!python/module:antigravity ""',
    '!!python/tuple [a, b]',
    '!!binary "%%%"',
    '!os.system "touch {mark}"',
)


def _aliases(merged: str) -> str:
    lines = ['a0: &a0 {x: 1}' if merged else 'a0: &a0 [x]']
    for i in range(1, 40):
        twice = f'[*a{i - 1}, *a{i - 1}]'
        lines.append(f'a{i}: &a{i} ' + (f'{{<<: {twice}}}' if merged else twice))
    return '\n'.join([*lines, 'names: *a39\n'])


YAML: dict[str, str] = {
    **{f'the tag {tag.split()[0]}': f'names: {tag}\n' for tag in TAGS},
    'aliases of aliases': _aliases(''),
    'merged aliases': _aliases('<<'),
    'lists in lists': 'names: ' + '[' * 3000 + ']' * 3000 + '\n',
    'dicts in dicts': 'names: ' + '{a: ' * 3000 + '}' * 3000 + '\n',
    'a number of many digits': 'names: [' + '9' * 50_000 + ']\n',
    'a date that is none': 'names: [2020-13-45]\n',
    'a list as a key': 'names: {? [a] : b}\n',
    'a directive': '%YAML 9.9\n---\nnames: [a\n',
    'a control letter': 'names: [a\x01]\n',
    'two documents': 'names: [a]\n---\nnames: [b]\n',
}

_DEEP = '[' * 100_000
JSON: dict[str, str] = {
    'lists in lists': _DEEP,
    'dicts in dicts': '{"images":' * 50_000,
    'lists in a part': '{"images": ' + _DEEP,
    'categories in lists': '{"images": [], "annotations": [], "categories": ' + _DEEP,
    'a number of many digits': '{"images": [' + '9' * 50_000 + ']}',
    'no number': '{"images": NaN, "annotations": 1e999, "categories": [Infinity]}',
    'a text': '"images"',
    'a list': '[{"id": 1}]',
    'cut off': '{"images": [{"id": 1, "file_name": "a',
    'a wrong escape': '{"images": "\\ud800\\x"}',
}


def _xml(declared: str, content: str) -> str:
    head = f'<?xml version="1.0"?><!DOCTYPE a [{declared}]>'
    return f'{head}<annotation>{content}</annotation>'


XML: dict[str, str] = {
    'entities of entities': _xml(
        '<!ENTITY l0 "lol">'
        + ''.join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10)),
        '&l9;',
    ),
    'a long entity often': _xml(f'<!ENTITY x "{"y" * 50_000}">', '&x;' * 20_000),
    'an entity of itself': _xml('<!ENTITY x "&x;">', '&x;'),
    'an entity of a file': _xml(
        '<!ENTITY x SYSTEM "file://{secret}">', '<folder>&x;</folder>'
    ),
    'an entity of an address': _xml(
        '<!ENTITY x SYSTEM "http://127.0.0.1:9/x">', '<folder>&x;</folder>'
    ),
    'parameters': _xml('<!ENTITY % x SYSTEM "file://{secret}"> %x;', ''),
    'elements in elements': '<a>' * 100_000,
    'a document of another kind': '<svg onload="alert(1)"/>',
    'an included file': (
        '<annotation xmlns:xi="http://www.w3.org/2001/XInclude">'
        '<xi:include href="{secret}" parse="text"/></annotation>'
    ),
    'an encoding that runs': '<?xml version="1.0" encoding="zlib_codec"?><a/>',
}


def write_set(root: Path, kind: str, text: str) -> Path:
    """Write a data set of one image whose annotations are a text; return their file."""
    places = {
        'yolo': ('images/train/a.png', 'data.yaml'),
        'voc': ('JPEGImages/a.png', 'Annotations/a.xml'),
        'coco': ('train/a.png', 'annotations/instances_train.json'),
    }
    image, file = (root / place for place in places[kind])
    image.parent.mkdir(parents=True)
    Image.new('L', (20, 10)).save(image)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    if kind == 'yolo':
        (root / 'labels/train').mkdir(parents=True)
        (root / 'labels/train/a.txt').write_text('0 .5 .5 .2 .2\n')
    if kind == 'voc':
        (root / 'ImageSets/Main').mkdir(parents=True)
        (root / 'ImageSets/Main/train.txt').write_text('a\n')
    return file
