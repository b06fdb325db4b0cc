"""A training that was interrupted ends as one that was not: to the bit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from mmfrcnn.training.loops import VALIDATED
from tests.end_to_end.tiny import run_here

from .exact import (
    BY_ITERATION,
    EPOCHS,
    ITERATIONS,
    MOSAIC,
    differences,
    load,
    what_differs,
    write_config,
)

LAST = f'iter_{ITERATIONS}.pth'


def train(config: Path, folder: Path, *options: str) -> None:
    assert run_here('train', config, '--work-dir', folder, *options) == 0


def leave_at(folder: Path, iteration: int, whole: Path) -> None:
    """Make a work folder as a kill after an iteration leaves that of a whole run."""
    shutil.copytree(whole, folder)
    for path in folder.glob('*.pth'):
        number = path.stem.rpartition('_')[2]
        if int(number) > iteration:
            path.unlink()
    text = (folder / 'results.csv').read_text()
    head, *rows = text.splitlines(keepends=True)
    # A row comes after the checkpoint of its iteration, and before that of a best one.
    hub = load(folder / f'iter_{iteration}.pth')['message_hub']['runtime_info']
    last = iteration if hub.get(VALIDATED) == iteration else iteration - 1
    kept = [row for row in rows if int(row.split(',')[1]) <= last]
    if kept:
        (folder / 'results.csv').write_text(''.join([head, *kept]))
    else:
        (folder / 'results.csv').unlink()


def compare(one: Path, other: Path) -> None:
    assert what_differs(one, other) == []
    assert len((one / 'results.csv').read_text().splitlines()) > 2
    best = [sorted(p.name for p in x.glob('best_*.pth')) for x in (one, other)]
    assert best[0] == best[1]


@dataclass
class Whole:
    """A training that nothing interrupted."""

    config: Path
    folder: Path


@pytest.fixture(scope='module')
def by_iteration(tmp_path_factory) -> Whole:
    """Of a config without a seed, which the first run draws."""
    root = tmp_path_factory.mktemp('iterations')
    whole = Whole(write_config(root, BY_ITERATION, seed=None), root / 'whole')
    train(whole.config, whole.folder)
    return whole


@pytest.fixture(scope='module')
def by_epoch(tmp_path_factory) -> Whole:
    """With two workers, and four pictures in one."""
    root = tmp_path_factory.mktemp('epochs')
    config = write_config(root, EPOCHS, MOSAIC, workers=2)
    whole = Whole(config, root / 'whole')
    train(config, whole.folder, '--deterministic')
    return whole


# In the middle of an update, where a validation is due, within an epoch and at its end.
@pytest.mark.parametrize(
    ('loop', 'iteration'),
    [('by_iteration', 3), ('by_iteration', 10), ('by_epoch', 8), ('by_epoch', 9)],
)
def test_killed_after_an_iteration(
    request, tmp_path, loop: str, iteration: int
) -> None:
    whole = request.getfixturevalue(loop)
    leave_at(tmp_path / 'killed', iteration, whole.folder)
    train(whole.config, tmp_path / 'killed', '--resume')
    compare(whole.folder, tmp_path / 'killed')


def test_it_does_not_matter_who_loads_an_image(by_epoch: Whole, tmp_path) -> None:
    alone = ('--cfg-options', 'train_dataloader.num_workers=0')
    alone += ('train_dataloader.persistent_workers=False',)
    train(by_epoch.config, tmp_path / 'run', '--deterministic', *alone)
    compare(by_epoch.folder, tmp_path / 'run')


def test_two_checkpoints_differ(by_epoch: Whole) -> None:
    """So what is compared here can fail."""
    before = load(by_epoch.folder / f'iter_{ITERATIONS - 1}.pth')
    found = set(differences(before, load(by_epoch.folder / LAST)))
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'message_hub'):
        assert any(where.startswith(f'/{part}/') for where in found), part
