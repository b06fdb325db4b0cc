"""One of several processes of a run that dies: which, on which machine, and of what.

The others notice no more than a connection that is lost. So all exchange their machines
and process ids at the start, and one that an error ends leaves a word in the store by
which the processes have found each other. Of one that was killed there is no word, but
on its own machine the process is missing.
"""

from __future__ import annotations

import os
import re
import socket
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from torch import distributed

from mmfrcnn.cli.deaths.machine import in_brackets, is_running, memory
from mmfrcnn.errors import UserError

LOST = re.compile(
    r'gloo/transport/|Connection was likely closed|Broken pipe|ncclRemoteError'
    r'|NCCL communicator was aborted'
)
"""What the backends, and the store, say where a connection is lost."""
PATIENCE = 2.0
"""Seconds until a process that was killed is surely gone."""
A_MOMENT = 0.05
LONGEST = 120
"""Characters of a word."""


@dataclass(frozen=True)
class Rank:
    """A process of a run: its number, its machine and its process id."""

    number: int
    host: str
    pid: int

    def __str__(self) -> str:
        return f'rank {self.number} (pid {self.pid} on {self.host})'


_ranks: list[Rank] = []


def sign_in() -> None:
    """Exchange machines and process ids with the other processes, if there are any."""
    if not _are_several():
        return
    own = Rank(distributed.get_rank(), socket.gethostname(), os.getpid())
    # A word may be left of an earlier training in this process, or under torchrun.
    distributed.distributed_c10d._get_default_store().delete_key(_key(own))
    found: list[Rank] = [own] * distributed.get_world_size()
    distributed.all_gather_object(found, own)
    _ranks[:] = found


@contextmanager
def ranks_explained() -> Iterator[None]:
    """Turn the loss of another process into a `UserError` that says which it was.

    Raises:
        UserError: If a connection is lost, and it is known whose.
    """
    try:
        yield
    except BaseException as error:
        if not _are_several():
            raise
        if not isinstance(error, RuntimeError) or not LOST.search(str(error)):
            _leave_word(_in_short(error))
            raise
        time.sleep(A_MOMENT)  # a connection ends a moment before its process
        _leave_word('')  # nobody shall take this end for the cause
        reason = _reason()
        if not reason:
            raise
        raise UserError(f'{reason}. The others cannot go on without it') from error


def _reason() -> str:
    """Say which process has died; '' if all of them are there, and on this machine."""
    if not _ranks:
        return (
            'another process has ended before the run began. Look for its own message'
        )
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        words = _words()
        first = next((rank for rank in _ranks if words.get(rank)), None)
        if first:
            return f'{first} has ended: {words[first]}. Look for its own message'
        missing = [rank for rank in _ranks if _is_missing(rank) and rank not in words]
        if missing:
            named, left = ' and '.join(map(str, missing)), memory()
            return (
                f'{named} has ended. Look for its own message; without one, it was '
                f'killed, most likely because memory ran out{in_brackets(left)}'
            )
        time.sleep(A_MOMENT)
    here = socket.gethostname()
    elsewhere = [str(rank) for rank in _ranks if rank.host != here]
    if not elsewhere:
        return ''
    return (
        f'the connection to another process is lost, and all of {here} are there. '
        f'Look for the messages of the others: {", ".join(elsewhere)}'
    )


def _is_missing(rank: Rank) -> bool:
    return rank.host == socket.gethostname() and not is_running(rank.pid)


def _words() -> dict[Rank, str]:
    """Return what processes said when an error ended them; '' of another's end."""
    store = _store()
    if store is None:
        return {}
    try:
        left = [rank for rank in _ranks if store.check([_key(rank)])]
        return {rank: store.get(_key(rank)).decode() for rank in left}
    except RuntimeError:  # who held the store has ended
        return {}


def _leave_word(word: str) -> None:
    store = _store()
    if store is None or not _ranks:
        return
    own = _ranks[distributed.get_rank()]
    with suppress(RuntimeError):  # who held the store has ended
        store.set(_key(own), word)


def _in_short(error: BaseException) -> str:
    """Say in a line what an error is."""
    # From a worker of a data loader it comes wrapped in the worker's traceback.
    lines = str(error).rpartition('UserError: ')[2].strip().splitlines() or ['']
    is_users = isinstance(error, UserError)
    said = lines[0] if is_users else f'{type(error).__name__}: {lines[-1]}'
    return textwrap.shorten(said, LONGEST, placeholder=' ...')


def _are_several() -> bool:
    if not (distributed.is_available() and distributed.is_initialized()):
        return False
    return distributed.get_world_size() > 1


def _store() -> distributed.Store | None:
    """Return where words are left; None if it has ended with rank 0, which held it."""
    is_torchruns = os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True'
    if not is_torchruns and any(map(_is_missing, _ranks[:1])):
        return None
    return distributed.distributed_c10d._get_default_store()


def _key(rank: Rank) -> str:
    return f'mmfrcnn/word/{rank.number}'
