"""One run at a time in a folder: the second is refused, and told whose it is.

The operating system's lock on a file in the folder: it ends with the process, whatever
ends that, so that a run which was killed can be resumed at once. The file says which
process has it. On drives that know no locks this note alone decides.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmfrcnn.cli.deaths.machine import is_running
from mmfrcnn.cli.runtime import is_main_process, print_once
from mmfrcnn.errors import UserError

LOCK = '.lock'
A_MOMENT, PATIENCE = 0.02, 2.0
"""Seconds between two looks at a lock that a dead process seems to have, and of all."""
TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)

if sys.platform == 'win32':
    import msvcrt

    def _lock(descriptor: int) -> None:
        # What is locked cannot be read by others there: a byte far behind the note.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_held: dict[str, int] = {}
"""Descriptors of the lock files of this process, by path."""


def _forget() -> None:
    """Leave the locks to the parent: its workers may outlive it by seconds."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def held(folder: str | Path, option: str, shared: bool = False) -> Iterator[None]:
    """Have a folder for this run alone.

    Args:
        folder (str | Path): It is made where it is missing.
        option (str): What names it on the command line.
        shared (bool): Whether several processes are one run; the first locks it.

    Raises:
        UserError: If another run has it.
    """
    path = os.path.join(os.path.realpath(folder), LOCK)
    # A training that begins anew within this process is the same run.
    if path in _held or (shared and not is_main_process()):
        yield
        return
    _held[path] = _take(path, f'{option} {folder}')
    try:
        yield
    finally:
        if path in _held:  # not in a process that was forked meanwhile
            _leave(path, _held.pop(path))


def _take(path: str, folder: str) -> int:
    """Lock the file and write the note; return its descriptor."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    until = time.monotonic() + PATIENCE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            is_locked = _try_to_lock(descriptor)
            note = os.read(descriptor, 1000).decode(errors='replace').strip()
            is_alive = _may_go_on(note)
            # A worker of a run that was killed may not have closed its copy yet.
            waits = is_locked is False and not is_alive and time.monotonic() < until
            if not waits and (is_locked is False or (is_locked is None and is_alive)):
                _refuse(path, folder, note, is_locked is None)
            # Whoever had it before may have removed the file since it was opened.
            if not waits and _is_at(path, descriptor):
                if note:
                    print_once(
                        f'{folder}: the run before was killed ({note}) and left its '
                        'lock, which is taken over.'
                    )
                _write_note(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(A_MOMENT)


def _try_to_lock(descriptor: int) -> bool | None:
    """Return whether the lock is had; None on a drive without locks."""
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        if error.errno in NO_LOCKS:
            return None
        raise
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


def _may_go_on(note: str) -> bool:
    """Whether the run of a note may go on; of another machine's nobody can tell."""
    found = re.match(r'pid (\d+) on ([^\s,]+)', note)
    if not found:
        return False
    return found[2] != socket.gethostname() or is_running(int(found[1]))


def _refuse(path: str, folder: str, note: str, by_note_alone: bool) -> None:
    remedy = f', or remove {path} if it has ended' if by_note_alone else ''
    raise UserError(
        f'{folder} is in use by another run ({note or "which has just begun"}). Choose '
        f'another folder, or wait for its end{remedy}'
    )


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write_note(descriptor: int) -> None:
    since = time.strftime('%Y-%m-%d %H:%M:%S')
    note = f'pid {os.getpid()} on {socket.gethostname()}, since {since}\n'
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, note.encode())


def _leave(path: str, descriptor: int) -> None:
    """Remove the file, while it is locked; where that can't be, empty it."""
    try:
        if _is_at(path, descriptor):
            os.unlink(path)
    except OSError:  # Windows removes no open file
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
