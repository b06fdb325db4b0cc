"""Two runs in one folder: the second is refused, and a killed one's lock is free."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from mmfrcnn.cli import work_lock
from mmfrcnn.cli.work_lock import LOCK, held
from mmfrcnn.errors import UserError
from tests.end_to_end.tiny import assert_user_error, make_config, run_here
from tests.tools import run_ranks

_forks = multiprocessing.get_context('fork')
HOST = socket.gethostname()


def hold(folder, connection, has_worker=False):
    """Be a run that has the folder, perhaps with a worker of a data loader."""
    with held(folder, '--work-dir'):
        worker = None
        if has_worker:
            worker = _forks.Process(target=time.sleep, args=(60,))
            worker.start()
        connection.send(worker.pid if worker else None)
        time.sleep(60)


@pytest.fixture
def start():
    """Start a run that has a folder; return its process and its worker's id."""
    started = []

    def begin(folder, has_worker=False):
        ours, theirs = _forks.Pipe()
        process = _forks.Process(target=hold, args=(folder, theirs, has_worker))
        process.start()
        worker = ours.recv()
        started.extend([process.pid, worker] if worker else [process.pid])
        return process, worker

    yield begin
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def check_refused(folder, words):
    with pytest.raises(UserError, match=words), held(folder, '--work-dir'):
        raise AssertionError('it was let in')


def test_the_second_is_refused_until_the_first_is_killed(tmp_path, start, capsys):
    process, worker = start(tmp_path, has_worker=True)
    whose = rf'in use by another run \(pid {process.pid} on {HOST}, since 20'
    check_refused(tmp_path, f'--work-dir {tmp_path} is {whose}')
    assert (tmp_path / LOCK).exists()
    process.kill()
    process.join()
    os.kill(worker, 0)  # an orphan of seconds, which must not keep the lock
    with held(tmp_path, '--work-dir'):
        note = (tmp_path / LOCK).read_text()
        assert note.startswith(f'pid {os.getpid()} on {HOST}, since ')
    assert f'was killed (pid {process.pid} on {HOST}' in capsys.readouterr().out
    assert not (tmp_path / LOCK).exists()


def test_one_process_goes_on_in_its_own_folder(tmp_path, capsys):
    for _ in range(2):
        with held(tmp_path / 'run', '--work-dir'), held(tmp_path / 'run', '--work-dir'):
            assert (tmp_path / 'run' / LOCK).exists()
        assert not (tmp_path / 'run' / LOCK).exists()
    with pytest.raises(ZeroDivisionError), held(tmp_path / 'run', '--work-dir'):
        raise ZeroDivisionError
    assert not (tmp_path / 'run' / LOCK).exists()
    assert capsys.readouterr().out == ''


def test_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    lock, calls = work_lock._lock, []

    def remove_first(descriptor):
        """As if the run before ended between opening the file and locking it."""
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()
        lock(descriptor)

    monkeypatch.setattr(work_lock, '_lock', remove_first)
    with held(tmp_path, '--work-dir'):
        assert len(calls) == 2
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


def test_a_lock_of_the_next_run_is_not_removed(tmp_path):
    with held(tmp_path / 'run', '--work-dir'):
        (tmp_path / 'run').rename(tmp_path / 'moved')
        (tmp_path / 'run').mkdir()
        (tmp_path / 'run' / LOCK).write_text('of the next')
    assert (tmp_path / 'run' / LOCK).read_text() == 'of the next'


@pytest.fixture
def without_locks(monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(work_lock, '_lock', refuse)


def dead_pid():
    process = _forks.Process(target=int)
    process.start()
    process.join()
    return process.pid


@pytest.mark.parametrize('note', ['', 'no note', 'pid {} on {}, since 2026'])
def test_without_locks_a_dead_process_is_told_by_its_id(tmp_path, note, without_locks):
    (tmp_path / LOCK).write_text(note.format(dead_pid(), HOST))
    with held(tmp_path, '--work-dir'):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize('host', [HOST, 'elsewhere'])
def test_without_locks_nobody_is_taken_for_dead(tmp_path, host, without_locks):
    pid = os.getpid() if host == HOST else dead_pid()
    note = f'pid {pid} on {host}, since 2026'
    (tmp_path / LOCK).write_text(note)
    check_refused(tmp_path, f'{note}.*or remove {tmp_path / LOCK} if')
    assert (tmp_path / LOCK).read_text() == note


def test_any_other_error_of_the_drive_is_let_through(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(work_lock, '_lock', fail)
    with (
        pytest.raises(OSError, match='Input/output error'),
        held(tmp_path, '--work-dir'),
    ):
        raise AssertionError('it was let in')


@pytest.mark.parametrize('variable', ['RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'])
@pytest.mark.parametrize('rank', [0, 1])
def test_of_several_processes_the_first_locks(tmp_path, monkeypatch, variable, rank):
    monkeypatch.setenv(variable, str(rank))
    with held(tmp_path, '--work-dir', shared=True):
        assert (tmp_path / LOCK).exists() == (rank == 0)
    with held(tmp_path, '--work-dir'):  # each is a run of its own
        assert (tmp_path / LOCK).exists()


def test_a_refused_run_writes_nothing(tmp_path, start, capsys):
    config = make_config(tmp_path)
    folder = tmp_path / 'run'
    process, _ = start(folder)
    resume = ['--work-dir', folder, '--resume']
    assert run_here('train', config, *resume) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith('error: --work-dir')
    assert f'(pid {process.pid} on {HOST}' in message
    assert [path.name for path in Path(folder).iterdir()] == [LOCK]


def test_of_several_processes_the_first_says_it_and_all_end(tmp_path, start):
    folder = tmp_path / 'run'
    process, _ = start(folder)
    done = run_ranks('train.py', make_config(tmp_path), '--work-dir', folder)
    expected = f'is in use by another run (pid {process.pid} on {HOST}'
    assert_user_error(done[0], expected)
    assert_user_error(done[1], 'another process has ended before the run began')
