"""A limit of time and memory for what is refused."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECONDS = 2.0
MEGABYTES = 500
ROOM = 16 << 30
"""Bytes of addresses beyond those in use: what asks for more of them gets none."""


class TooLong(BaseException):
    """Not to be caught by what is tried."""


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _stop(*_: Any) -> None:
    raise TooLong(f'more than {SECONDS} seconds')


@contextmanager
def bounded() -> Iterator[None]:
    """Fail what takes more processor time or memory than a refusal may."""
    before = _peak()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open('/proc/self/statm') as sizes:
        used = int(sizes.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, hard))
    handler = signal.signal(signal.SIGPROF, _stop)
    waited = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(30)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        signal.signal(signal.SIGPROF, handler)
        signal.signal(signal.SIGALRM, waited)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert _peak() - before < MEGABYTES
