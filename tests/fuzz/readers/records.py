"""What a run writes and reads again: journals of predictions, results.csv."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from random import Random
from typing import Any

from mmfrcnn.cli import UNUSABLE_PATH
from mmfrcnn.cli.journal import Journal, is_journal
from mmfrcnn.cli.predictions import write_predictions
from mmfrcnn.errors import UserError
from mmfrcnn.training.pictures import history
from mmfrcnn.training.results import best_row, read_results
from mmfrcnn.training.validation_loss import overfitting
from tests.fuzz.reader import NoOpinionError, Reader
from tests.fuzz.texts import changed_bytes, changed_text, encoded, put
from tests.fuzz.trees import as_json, changed

SETTINGS = {'checkpoint': 'x.pth', 'score_thr': 0.3}


def _lines() -> list[dict[str, Any]]:
    detection = {'bbox': [1, 2, 3.5, 4], 'category_id': 1, 'score': 0.5}
    entries = [
        {
            **{'name': f'{name}.png', 'version': [7, 8], 'width': 40, 'height': 30},
            'detections': [dict(detection)] * number,
        }
        for number, name in enumerate('abc')
    ]
    return [{'journal': 'mmfrcnn predict', **SETTINGS}, *entries]


def write_journal(rng: Random, folder: Path) -> bool:
    """Write a journal."""
    kind, lines = rng.random(), _lines()
    if kind < 0.6:
        lines = changed(rng, lines, rng.choice([1, 1, 2]))
        lines = lines if isinstance(lines, list) else [lines]
    content = encoded(rng, ''.join(f'{as_json(rng, line)}\n' for line in lines))
    if kind > 0.9:
        content = changed_bytes(rng, content)
    elif kind > 0.6:
        content = encoded(rng, changed_text(rng, content.decode(errors='replace')))
    put(rng, folder / 'journal.jsonl', content)
    return False


class _Images:
    """Stand for the images of a source."""

    names = ('a.png', 'b.png', 'c.png')

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Return the name of an image."""
        return self.names[index]

    def version(self, index: int) -> list[int]:
        """Return its version."""
        return [7, 8]


def read_journal(folder: Path) -> Any:
    """Go on with it, and write what it says was found."""
    path = folder / 'journal.jsonl'
    before = path.read_bytes() if path.is_file() else b''
    is_journal(path)
    try:
        journal = Journal(path, SETTINGS)
    except UNUSABLE_PATH as error:
        raise UserError(f'{error.filename}: {error.strerror}') from error
    entries = dict(journal)
    write_predictions(folder / 'out.json', _Images(), journal, ('cat',))  # type: ignore[arg-type]
    more = {'name': 'd.png', 'version': [1], 'width': 1, 'height': 1, 'detections': []}
    journal.add(more)
    again = Journal(path, SETTINGS)
    assert not again.restarted and again.keys() == {*entries, 'd.png'}
    put(Random(), path, before, is_whole=True)
    return sorted(entries)


def journal_reference(folder: Path) -> Any:
    """Read the lines up to the first that is none."""
    names = set()
    text = (folder / 'journal.jsonl').read_bytes().decode(errors='replace')
    for number, line in enumerate(text.split('\n')):
        try:
            one = json.loads(line)
        except (ValueError, RecursionError):
            break
        if number == 0 and one != {'journal': 'mmfrcnn predict', **SETTINGS}:
            return []
        if number:
            if not isinstance(one, dict) or _lines()[1].keys() - one.keys():
                break
            if one not in _lines():
                raise NoOpinionError
            names.add(one['name'])
    return sorted(names)


# -- results.csv

TABLE = (
    'epoch,iteration,lr,loss,val/loss,coco/bbox_mAP\n'
    '1,10,0.01,2.5,3,0.1\n2,20,0.01,2,2.5,0.2\n3,30,0.001,1.5,2.8,nan\n'
)


def write_results(rng: Random, folder: Path) -> bool:
    """Write a table."""
    kind = rng.random()
    text = TABLE if kind < 0.02 else changed_text(rng, TABLE, rng.choice([1, 1, 2, 3]))
    content = text.encode() if kind < 0.02 else encoded(rng, text)
    content = changed_bytes(rng, content) if kind > 0.95 else content
    put(rng, folder / 'results.csv', content, kind < 0.02)
    return kind < 0.02


def read_results_file(folder: Path) -> Any:
    """Read it and do with it what a run and a report do."""
    rows = read_results(folder / 'results.csv')
    overfitting(rows)
    best_row(rows, 'coco/bbox_mAP')
    history(folder)
    assert all(int(row['iteration']) >= 0 for row in rows)
    return len(rows)


def results_reference(folder: Path) -> Any:
    """Count the rows of a table that begins as one does, or none."""
    if not (folder / 'results.csv').is_file():
        return 0
    try:
        text = (folder / 'results.csv').read_bytes().decode()
        lines = [line for line in csv.reader(io.StringIO(text, newline='')) if line]
        if text[:1] in ('\r', '\n'):
            return 0  # whatever follows, its first line names no columns
    except (OSError, UnicodeDecodeError, csv.Error):
        return 0
    if (
        not lines
        or lines[0][:2] != ['epoch', 'iteration']
        or 'iteration' in lines[0][2:]
    ):
        if lines and lines[0].count('iteration') > 1:
            raise NoOpinionError
        return 0
    if any(len(line) > len(lines[0]) for line in lines):
        return 0
    numbers = [line[1] if len(line) > 1 else '' for line in lines[1:]]
    whole = all(one.isascii() and one.isdigit() and len(one) < 19 for one in numbers)
    return len(numbers) if whole else 0


def prepare(folder: Path) -> None:
    """Need nothing beside the file."""


READERS = [
    Reader('journal', prepare, write_journal, read_journal, journal_reference, 2),
    Reader('results', prepare, write_results, read_results_file, results_reference, 2),
]
