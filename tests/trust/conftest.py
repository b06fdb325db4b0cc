"""A place to leave marks in, and the ways in to it."""

from __future__ import annotations

import copyreg
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmfrcnn  # noqa: F401  (before mmdet, which it makes importable)
from tests.end_to_end.tiny import make_config
from tests.trust.entries import Entry, entries
from tests.trust.pickles import EXTENSION, HERE


@pytest.fixture(scope='session')
def ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Entry]:
    """Return every way in by its name."""
    folder = tmp_path_factory.mktemp('ways')
    config = make_config(folder / 'tiny')
    pretrained = folder / 'pretrained.py'
    init = "dict(type='Pretrained', checkpoint='weights.pth')"
    pretrained.write_text(
        config.read_text().replace('init_cfg=None', f'init_cfg={init}')
    )
    return entries(folder, config, pretrained)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """Return where a payload leaves its mark, which must not be there at the end."""
    folder = tmp_path / 'marks'
    folder.mkdir()
    path = folder / 'mark'
    (folder / 'script.py').write_text(f'open({str(path)!r}, "w").close()')
    copyreg.add_extension(HERE, 'touch', EXTENSION)
    yield path
    copyreg.remove_extension(HERE, 'touch', EXTENSION)
    assert not is_marked(path)


def is_marked(mark: Path) -> bool:
    """Whether a payload was executed; some add an ending to the name they are given."""
    return any(file.name.startswith('mark') for file in mark.parent.iterdir())
