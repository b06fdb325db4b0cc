"""Texts and bytes changed here and there, and what may stand in place of a file."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from random import Random

from tests.fuzz.values import NUMBER_TEXTS, TEXTS

NUMBER = re.compile(r'[-+]?\d+\.?\d*')
WORD = re.compile(r'\w+')
ENCODINGS = (
    'utf-8',
    'utf-8-sig',
    'utf-16',
    'utf-16-le',
    'utf-16-be',
    'utf-32',
    'cp1252',
)


def changed_text(rng: Random, text: str, times: int = 1) -> str:
    """Return a text with numbers, words, lines or letters changed."""
    for _ in range(times):
        text = rng.choice(CHANGES)(rng, text)
    return text


def _exchanged(rng: Random, text: str, what: re.Pattern[str], new: str) -> str:
    found = list(what.finditer(text))
    if not found:
        return new
    one = rng.choice(found)
    return text[: one.start()] + new + text[one.end() :]


def _number(rng: Random, text: str) -> str:
    return _exchanged(rng, text, NUMBER, rng.choice(NUMBER_TEXTS))


def _word(rng: Random, text: str) -> str:
    return _exchanged(rng, text, WORD, rng.choice(TEXTS))


def _insert(rng: Random, text: str) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice((*TEXTS, *MARKS)) + text[place:]


def _lines(rng: Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    place = rng.randrange(len(lines))
    lines[place : place + 1] = rng.choice(
        [[], [lines[place]] * 2, [lines[place], '\n'], ['\0\n'], [' ']]
    )
    return ''.join(lines)


def _cut(rng: Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _span(rng: Random, text: str) -> str:
    ends = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
    span = text[ends[0] : ends[1]]
    return text[: ends[0]] + rng.choice(['', span * 2]) + text[ends[1] :]


MARKS = (
    '"',
    "'",
    ',',
    ';',
    '\t',
    '\n',
    '\r\n',
    '[',
    '{',
    '<',
    '&',
    '#',
    ':',
    '*a',
    '\\',
)
CHANGES = (*(_number,) * 6, *(_word,) * 3, _insert, _insert, _lines, _cut, _span)


def encoded(rng: Random, text: str) -> bytes:
    """Return a text as bytes, mostly in UTF-8."""
    encoding = rng.choice(ENCODINGS) if rng.random() < 0.05 else 'utf-8'
    errors = 'replace' if encoding == 'cp1252' else 'surrogatepass'
    return text.encode(encoding, errors)


def changed_bytes(rng: Random, content: bytes, times: int = 1) -> bytes:
    """Return bytes of which some are others, gone, or there again."""
    for _ in range(times):
        if not content:
            return bytes(rng.randrange(256) for _ in range(rng.randrange(20)))
        place = rng.randrange(len(content))
        length = min(1 << rng.randrange(8), len(content) - place)
        old = content[place : place + length]
        new = rng.choice(
            [
                *(bytes([content[place] ^ 1 << rng.randrange(8)]) + old[1:],) * 4,
                *(b'', b'\0' * length, b'\xff' * length, old * 2),
                bytes(rng.randrange(256) for _ in range(length)),
            ]
        )
        content = content[:place] + new + content[place + length :]
        if rng.random() < 0.1:
            content = content[:place]
    return content


def put(rng: Random, path: Path, content: bytes, is_whole: bool = False) -> None:
    """Write a file or, now and then unless it is whole, something else in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or not path.is_file():
        path.unlink(missing_ok=True)
    kind = 0.0 if is_whole else rng.random()
    if kind < 0.997:
        with open(path, 'wb') as stream:
            stream.write(content)
        return
    path.unlink(missing_ok=True)
    if kind < 0.998:
        path.mkdir()
    elif kind < 0.9985:
        os.mkfifo(path)
    elif kind < 0.999:
        path.symlink_to(path)
