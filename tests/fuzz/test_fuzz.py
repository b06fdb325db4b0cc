"""Twenty thousand cases, the same each time; more by ``python -m tests.fuzz``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmfrcnn.errors import UserError
from tests.fuzz.readers import READERS
from tests.fuzz.readers.coco import FILE
from tests.fuzz.run import EQUAL, READ, REFUSED, run

# What libraries say of damaged files, and torch of tensors that it writes no more.
pytestmark = pytest.mark.filterwarnings('ignore')
CASES = 20_000
SHARES = sum(reader.share for reader in READERS)


@pytest.mark.parametrize('reader', READERS, ids=lambda reader: reader.name)
def test_every_file_is_read_or_refused_in_one_line(reader):
    cases = max(round(CASES * reader.share / SHARES), 10)
    tally = run(reader, range(cases))
    assert not tally.findings
    counts = tally.counts
    assert counts.total() == cases
    # Neither refusing all nor reading all would be a test.
    assert counts[EQUAL] + counts[READ]
    assert counts[REFUSED] or reader.name in ('journal', 'results', 'images')


def fails(folder):
    raise KeyError('a traceback')


def refuses(folder):
    raise UserError(f'{folder}: no\nreason')


def hangs(folder):
    while True:
        pass


def grows(folder):
    return bytearray(3 << 30)


BAD = {
    'KeyError in test_fuzz.py': fails,
    'it is not one line of printable letters': refuses,
    'more than 0.1 seconds': hangs,
    'MemoryError in test_fuzz.py': grows,
    'other than the reference': lambda folder: None,
}


@pytest.mark.parametrize('finding', BAD)
def test_a_bad_reader_is_found(finding, tmp_path, monkeypatch):
    monkeypatch.setattr('tests.fuzz.run.SECONDS', 0.1)
    reader = replace(READERS[0], read=BAD[finding], reference=lambda folder: 1)
    tally = run(reader, range(1), tmp_path)
    ((text, numbers),) = tally.findings.items()
    assert finding in text and numbers == [0]
    (kept,) = tmp_path.iterdir()
    assert {path.name for path in kept.iterdir()} == {FILE, 'finding.txt'}


def test_a_valid_file_must_be_read(tmp_path):
    def refuse(folder):
        raise UserError(f'{folder}: no')

    reader = replace(READERS[0], read=refuse, write=lambda rng, folder: True)
    assert 'a valid file refused' in next(iter(run(reader, range(1)).findings))
