"""Running cases: each is made from the reader's name and a number, and judged."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from mmfrcnn.errors import UserError
from tests.fuzz.reader import NoOpinionError, Reader, alike, fault_of_message

SECONDS, WAITED = 2.0, 20
"""Of processor time, and of time: another process may have the processor."""
GIGABYTE = 1 << 30
EQUAL, READ, REFUSED = 'equal to the reference', 'read', 'refused in one line'
SHOWN = 3
"""Files kept of one finding."""


class TooLongError(BaseException):
    """Not to be caught by what is tried."""


@dataclass
class Tally:
    """The outcomes of one reader, and its findings with the numbers of their cases."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[int]] = field(default_factory=dict)
    slowest: float = 0.0


def run(reader: Reader, numbers: range, kept: Path | None = None) -> Tally:
    """Run cases of a reader.

    Args:
        reader (Reader): The reader.
        numbers (range): The cases.
        kept (Path | None): Gets the folder of each finding's first cases.
    """
    tally = Tally()
    with _folder() as folder, _bounded(), _silent():
        reader.prepare(folder)
        for number in numbers:
            outcome = one_case(reader, number, folder, tally)
            if outcome in (EQUAL, READ, REFUSED):
                tally.counts[outcome] += 1
                continue
            found = tally.findings.setdefault(outcome, [])
            found.append(number)
            if kept and len(found) <= SHOWN:
                target = kept / f'{reader.name}-{number}'
                shutil.copytree(folder, target, dirs_exist_ok=True, symlinks=True,
                                ignore=_pipes)  # fmt: skip
                (target / 'finding.txt').write_text(outcome)
    return tally


def one_case(reader: Reader, number: int, folder: Path, tally: Tally) -> str:
    """Make one case and return its outcome."""
    must_read = reader.write(Random(f'{reader.name} {number}'), folder)
    start = time.process_time()
    try:
        with _timed():
            outcome, value = _read(reader, folder)
            took = time.process_time() - start
            tally.slowest = max(tally.slowest, took)
            if outcome == REFUSED:
                return f'a valid file refused: {value}' if must_read else outcome
            if outcome != READ:
                return outcome
            try:
                expected = reader.reference(folder)
            except NoOpinionError:
                return READ
            except Exception as error:
                return f'read, where the reference has {type(error).__name__}'
            return EQUAL if alike(value, expected) else 'other than the reference'
    except TooLongError:
        return f'more than {SECONDS} seconds'


def _read(reader: Reader, folder: Path) -> tuple[str, Any]:
    try:
        value = reader.read(folder)
    except UserError as error:
        fault = fault_of_message(str(error), folder)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return (f'{_place(frame)}: {fault}' if fault else REFUSED), str(error)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [one for one in frames if '/mmfrcnn/' in one.filename] or frames
        return f'{type(error).__name__} in {_place(ours[-1])}', None
    return READ, value


def _place(frame: traceback.FrameSummary) -> str:
    return f'{Path(frame.filename).name}, {frame.name}, line {frame.lineno}'


def _pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_fifo()]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    memory = Path('/dev/shm')
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    kept = os.dup(2)  # to which libraries write past Python
    with (
        open(os.devnull, 'w') as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _stop(*_: Any) -> None:
    raise TooLongError


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Give no more memory than another gigabyte, and a handler for `_timed`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open('/proc/self/statm') as sizes:
        used = int(sizes.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTE, hard))
    handlers = {
        one: signal.signal(one, _stop) for one in (signal.SIGPROF, signal.SIGALRM)
    }
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for one, handler in handlers.items():
            signal.signal(one, handler)


@contextlib.contextmanager
def _timed() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITED)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
