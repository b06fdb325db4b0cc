"""A worker of a data loader that is killed, or cannot hand its images over.

torch notices most of it, and says it in a traceback of its own insides; here it is one
line, with what the machine has and what to set. An error that a worker's own work
raises, as a transform with a bug does, is left with its traceback.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from typing import Any

from torch._utils import ExceptionWrapper
from torch.utils.data import get_worker_info

from mmfrcnn.cli.deaths.machine import (
    in_brackets,
    memory,
    open_files,
    shared_memory,
)
from mmfrcnn.errors import UserError

KILLED = re.compile(r'DataLoader worker \(pid (\d+)\) is killed by signal: ([^.]+)\.')
ENDED = re.compile(
    r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) exited unexpectedly'
    r'(?: with exit code (\d+))?'
)
SHARED = re.compile(r'unable to .*</torch_\w+>.*')
FILES = re.compile(
    r'received \d+ items of ancdata|</torch_\w+>.*Too many open files'
    r'|Too many open files\. Communication with the workers'
)
"""What torch says: in DataLoader.cpp, dataloader.py and MapAllocator.cpp, and Python's
multiprocessing where it expected a file to be handed over."""

HOOK = '_on_queue_feeder_error'
PRINT_ERROR = getattr(Queue, HOOK)


@contextmanager
def workers_explained(option: str) -> Iterator[None]:
    """Turn the death of a data loader's worker into a `UserError` of one line.

    Args:
        option (str): What sets the number of workers, such as ``--num-workers``.

    Raises:
        UserError: If one was killed, or shared memory or open files ran out.
    """
    with _told_what_is_not_sent():
        try:
            yield
        except Exception as error:
            reason = _reason(error, option)
            if not reason:
                raise
            raise UserError(reason) from error


def _reason(error: BaseException, option: str) -> str:
    """Say what became of a worker, and what to do; '' for any other error."""
    # torch raises it wherever the main process just is, so another may hide it.
    chain = list(_chain(error))
    texts = [_last_line(one) for one in chain]
    fewer = f'set fewer workers ({option}=1, or 0 for none)'
    if killed := _first(KILLED, texts):
        return _of_signal(killed[1], killed[2], option, fewer)
    if _first(FILES, texts) or any(_number(one) == errno.EMFILE for one in chain):
        return (
            f'too many open files{in_brackets(open_files())}, through which workers '
            f'hand over images. Raise the limit (ulimit -n 65536), or {fewer}, or call '
            "torch.multiprocessing.set_sharing_strategy('file_system') in a module of "
            'custom_imports'
        )
    if shared := _first(SHARED, texts):
        return _of_shared_memory(shared[0], fewer)
    if any(map(_is_of_a_full_start, chain)):
        return _of_shared_memory('no worker could be started', fewer)
    if ended := _first(ENDED, texts[::-1]):  # the inner one has the code
        code = f' with exit code {ended[2]}' if ended[2] else ''
        return (
            f'a worker of the data loader (pid {ended[1]}) ended{code}. Look above for '
            f'its own message; {option}=0 shows where it comes from'
        )
    return ''


def _of_signal(pid: str, signal: str, option: str, fewer: str) -> str:
    worker = f'a worker of the data loader (pid {pid})'
    if signal == 'Killed':
        return (
            f'{worker} was killed (SIGKILL), most likely by the system because memory '
            f'ran out{in_brackets(memory())}: {fewer}, smaller images or batches'
        )
    if signal == 'Bus error':
        return _of_shared_memory(f'{worker} was ended by a bus error', fewer)
    return (
        f'{worker} was ended by the signal {signal!r}. If nobody sent it, a library '
        f'crashed there; {option}=0 shows where'
    )


def _of_shared_memory(what: str, fewer: str) -> str:
    return (
        f'{what}: most likely shared memory is full{in_brackets(shared_memory())}, '
        'through which workers hand over images. Give it more (docker run '
        f'--shm-size=8g), or {fewer} or smaller batches'
    )


@contextmanager
def _told_what_is_not_sent() -> Iterator[None]:
    """Have a worker send the error where it cannot send a batch.

    Python prints it and goes on, and the main process would wait for that batch for
    ever. Workers that are forked within take this over.
    """
    before = Queue.__dict__[HOOK]
    setattr(Queue, HOOK, _send_error)
    try:
        yield
    finally:
        setattr(Queue, HOOK, before)


def _send_error(queue: Any, error: Exception, item: Any) -> None:
    """Stand in for Python's `Queue._on_queue_feeder_error`, called in its `except`."""
    worker = get_worker_info()
    if worker is None or not isinstance(item, tuple):
        PRINT_ERROR(error, item)
        return
    wrapped = ExceptionWrapper(where=f'in DataLoader worker process {worker.id}')
    queue.put((item[0], wrapped))


def _is_of_a_full_start(error: BaseException) -> bool:
    """Whether no space was left, not for a file but for what processes share."""
    if _number(error) != errno.ENOSPC:
        return False
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    modules = [frame.f_globals.get('__name__', '') for frame in frames]
    return any(name.startswith('multiprocessing.') for name in modules)


def _number(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _last_line(error: BaseException) -> str:
    """Return what an error says; of one in a worker, without its traceback."""
    return (str(error).strip().splitlines() or [''])[-1]


def _first(pattern: re.Pattern[str], texts: list[str]) -> re.Match[str] | None:
    return next(filter(None, map(pattern.search, texts)), None)
