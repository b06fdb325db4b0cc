"""docs/differences.md names a test for each difference, and the test is there."""

from __future__ import annotations

import re

ROW = re.compile(r'^\|.*\| `(tests/[\w/]+\.py)::(\w+)` \|$', re.MULTILINE)


def test_every_difference_names_a_test_that_is_there(repo_root):
    text = (repo_root / 'docs/differences.md').read_text('utf-8')
    tables = re.findall(r'^\|---.*\n((?:\|.*\n)+)', text, re.MULTILINE)
    rows = sum(table.count('\n') for table in tables)
    named = ROW.findall(text)
    assert len(named) == rows >= 20
    for file, name in named:
        source = (repo_root / file).read_text('utf-8')
        assert re.search(rf'^def {name}\(', source, re.MULTILINE), f'{file}::{name}'
