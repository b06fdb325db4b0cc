"""Which tool wrote a JSON file, told from its keys without reading all of it."""

from __future__ import annotations

import json
from mmap import ACCESS_READ, mmap
from pathlib import Path

KEYS = {
    'coco': (b'"images"', b'"annotations"', b'"categories"'),
    'labelme': (b'"shapes"', b'"imagePath"'),
    'via': (b'"regions"', b'"shape_attributes"'),
    'createml': (b'"annotations"', b'"coordinates"'),
}
"""The keys that all files of a kind have, the first kind that fits counting."""


def json_kind(path: Path) -> str | None:
    """Return a key of `KEYS`, ``label_studio``, or None for any other file."""
    try:
        with (
            open(path, 'rb') as file,
            mmap(file.fileno(), 0, access=ACCESS_READ) as content,
        ):
            start = content[:64]
            if json.detect_encoding(start) not in ('utf-8', 'utf-8-sig'):
                return _kind(content[:].decode(json.detect_encoding(start)).encode())
            return _kind(content)
    except (OSError, ValueError):  # an empty file, or no text
        return None


def _kind(content: bytes | mmap) -> str | None:
    def has(*keys: bytes) -> bool:
        return all(content.find(key) >= 0 for key in keys)

    start = content[:64].removeprefix(b'\xef\xbb\xbf').lstrip()[:1]
    if start == b'[':
        of_tasks = has(b'"original_width"') or has(b'"data"', b'"annotations"')
        if of_tasks and not has(b'"coordinates"'):
            return 'label_studio'
    if start not in (b'[', b'{'):
        return None
    return next((kind for kind, keys in KEYS.items() if has(*keys)), None)
