"""The gate is one of the tests, so CI and `make test` cannot pass without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(command, cwd, **environment):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | {'PATH': path} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_gate_passes(repo_root):
    result = run([repo_root / '.ci/check'], repo_root)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ('name', 'text', 'finding'),
    [
        ('notes.md', '# A\n\n[b](missing.md)\n', 'link to missing.md'),
        ('notes.md', '# A B\n\n[b](#a-c)\n', 'no heading'),
        ('tool.py', "ROOT = '/" + "home/someone/data'\n", 'one machine'),
        ('data.bin', 'x' * 600_000, '600000 bytes'),
        ('long.py', 'x = 1\n' * 501, '501 lines'),
        ('notes.md', '# A b\n\n[b](#a-b) `[c](d)` <!-- -->\n', None),
    ],
)
def test_hygiene_finds(repo_root, tmp_path, name, text, finding):
    """In a copy that is no git checkout it looks at every file."""
    copy = tmp_path / '.ci' / 'hygiene.py'
    copy.parent.mkdir()
    copy.write_text((repo_root / '.ci/hygiene.py').read_text())
    (tmp_path / name).write_text(text)
    result = run([sys.executable, copy], tmp_path)
    assert result.returncode == (finding is not None), result.stderr
    assert (finding or '') in result.stderr
