"""Ctrl-C and SIGTERM: the update is finished and saved, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from mmfrcnn.training.interruption import InterruptionHook
from tests.end_to_end.tiny import run_here
from tests.tools import run_ranks

from .exact import BY_ITERATION, EPOCHS, ITERATIONS, differences, load, write_config

LAST = f'iter_{ITERATIONS}.pth'
# No checkpoint but the last one is written unless something makes it.
SELDOM = f"default_hooks['checkpoint']['interval'] = {ITERATIONS}\n"


def told(number: int, iteration: int, **more: object) -> str:
    """Return the lines of a config that sends a signal to the training itself."""
    hook = dict(type='SignalAt', number=int(number), iteration=iteration, **more)
    imports = dict(imports=['tests.training.signalling'])
    return f'custom_imports = {imports}\ncustom_hooks.append({hook})\n'


def write_pair(
    folder: Path, loop: str, sending: str, workers: int, saving: str = SELDOM
) -> list[Path]:
    """Write a config, and the same with a signal in it."""
    return [
        write_config(folder / name, loop, saving, more, workers=workers)
        for name, more in (('quiet', ''), ('told', sending))
    ]


@pytest.mark.parametrize(
    ('loop', 'number', 'iteration', 'ends_after'),
    [
        # Two iterations are one update, which is finished.
        (BY_ITERATION, signal.SIGTERM, 6, 8),
        # The last batch of an epoch.
        (EPOCHS, signal.SIGINT, 7, 8),
    ],
)
def test_a_training_ends_after_its_update_and_goes_on(
    tmp_path, capfd, loop: str, number: signal.Signals, iteration: int, ends_after: int
) -> None:
    quiet, sending = write_pair(tmp_path, loop, told(number, iteration), workers=2)
    run_here('train', quiet, '--work-dir', tmp_path / 'whole')
    code = run_here('train', sending, '--work-dir', tmp_path / 'ended')
    assert code == 128 + number
    assert not multiprocessing.active_children()
    kept = tmp_path / f'ended/iter_{ends_after}.pth'
    said = capfd.readouterr().err
    assert f'ended by {number.name} after iteration {ends_after}, which {kept}' in said
    assert 'Traceback' not in said
    assert [path.name for path in kept.parent.glob('*.pth')] == [kept.name]
    assert (kept.parent / 'last_checkpoint').read_text() == str(kept)
    run_here('train', quiet, '--work-dir', tmp_path / 'ended', '--resume')
    whole = load(tmp_path / 'whole' / LAST)
    assert list(differences(whole, load(tmp_path / 'ended' / LAST))) == []


def test_a_validation_is_cut_off_and_repeated(tmp_path: Path) -> None:
    """With averaged weights in the model, which are not those that train on."""
    sending = told(signal.SIGTERM, 10, validation=True)
    quiet, sending = write_pair(tmp_path, BY_ITERATION, sending, workers=0)
    run_here('train', quiet, '--work-dir', tmp_path / 'whole')
    assert run_here('train', sending, '--work-dir', tmp_path / 'ended') == 143
    assert (tmp_path / 'ended/iter_10.pth').is_file()
    rows = (tmp_path / 'ended/results.csv').read_text().splitlines()
    assert [row.split(',')[1] for row in rows[1:]] == ['5']
    run_here('train', quiet, '--work-dir', tmp_path / 'ended', '--resume')
    whole = load(tmp_path / 'whole' / LAST)
    assert list(differences(whole, load(tmp_path / 'ended' / LAST))) == []
    tables = [(tmp_path / x / 'results.csv').read_text() for x in ('whole', 'ended')]
    assert tables[0] == tables[1]


def test_asked_before_there_is_anything_to_save(tmp_path: Path, monkeypatch) -> None:
    config = write_config(tmp_path, EPOCHS)
    monkeypatch.setattr(
        'mmfrcnn.cli.train.build_runner', lambda *_: signal.raise_signal(signal.SIGTERM)
    )
    assert run_here('train', config, '--work-dir', tmp_path / 'run') == 143
    assert not list((tmp_path / 'run').glob('*.pth'))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _begin_and_sleep(begun: Event) -> None:
    begun.set()
    time.sleep(30)


def test_a_process_that_is_forked_ends_when_it_is_told_to() -> None:
    """As the workers of a pool are, in which a training draws its pictures."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    forks = multiprocessing.get_context('fork')
    with InterruptionHook().listening():
        begun = forks.Event()
        child = forks.Process(target=_begin_and_sleep, args=(begun,))
        child.start()
        # Python drops what comes while it forks.
        assert begun.wait(10)
        child.terminate()
        child.join(10)
        assert child.exitcode == -signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.fixture(scope='module')
def two(tmp_path_factory) -> Path:
    """Two processes, of which the second alone is told; they go on as two."""
    root = tmp_path_factory.mktemp('two')
    # In the middle of an update, which the gradients of both make.
    saving = "default_hooks['checkpoint']['interval'] = 3\n"
    asked = told(signal.SIGTERM, 6, rank=1)
    quiet, sending = write_pair(root, EPOCHS, asked, 0, saving)
    more = ('--cfg-options', 'train_dataloader.batch_size=1')
    done = run_ranks('train.py', quiet, '--work-dir', root / 'whole', *more)
    assert [one.returncode for one in done] == [0, 0], done
    done = run_ranks('train.py', sending, '--work-dir', root / 'ended', *more)
    assert [one.returncode for one in done] == [143, 143], done
    names = {path.name for path in (root / 'ended').glob('iter_*.pth')}
    assert names == {'iter_3.pth', 'iter_6.pth', 'iter_8.pth'}
    return root


def test_two_processes_go_on_within_an_update(two: Path) -> None:
    (two / 'within').mkdir()
    (two / 'within/iter_3.pth').write_bytes((two / 'whole/iter_3.pth').read_bytes())
    more = ('--resume', '--cfg-options', 'train_dataloader.batch_size=1')
    config = two / 'quiet/random.py'
    done = run_ranks('train.py', config, '--work-dir', two / 'within', *more)
    assert [one.returncode for one in done] == [0, 0], done
    whole = load(two / 'whole' / LAST)
    assert list(differences(whole, load(two / 'within' / LAST))) == []


def test_two_processes_end_after_the_same_update_and_go_on(two: Path) -> None:
    config = two / 'quiet/random.py'
    more = ('--resume', '--cfg-options', 'train_dataloader.batch_size=1')
    begun = (two / 'ended/iter_8.pth').read_bytes()
    done = run_ranks('train.py', config, '--work-dir', two / 'ended', *more)
    assert [one.returncode for one in done] == [0, 0], done
    whole = load(two / 'whole' / LAST)
    assert list(differences(whole, load(two / 'ended' / LAST))) == []

    # One process goes on where two were, with the images of both.
    (two / 'alone').mkdir()
    (two / 'alone/iter_8.pth').write_bytes(begun)
    assert run_here('train', config, '--work-dir', two / 'alone', *more) == 0
    alone = load(two / 'alone' / LAST)
    for name, value in whole['state_dict'].items():
        torch.testing.assert_close(
            alone['state_dict'][name], value, atol=1e-4, rtol=1e-3
        )
    assert alone['meta']['iter'] == whole['meta']['iter']
