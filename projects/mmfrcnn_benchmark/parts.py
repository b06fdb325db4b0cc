"""Parts of a check, each run in a process that may fail, hang or crash.

A kernel that reads where it must not leaves CUDA unusable for the rest of its process,
and one that waits for ever can only be killed. So the process that keeps the time and
the results never computes: another runs part after part, and is replaced where it can
compute no longer.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmfrcnn.cli.runtime import choose_device

# Seconds for a process to end in; a driver may keep one whose kernel does not end.
PATIENCE = 3.0


class Part(NamedTuple):
    """Something to run: ``job(device)`` returns what JSON can hold.

    The job is found by its name in another process: a function of a module, or a
    `functools.partial` of one.
    """

    name: str
    job: Callable[[str], dict[str, Any]]


class PartError(Exception):
    """Why a part has no result, in a line."""


class Worker:
    """The process that runs the parts; it starts with the first, and after a loss.

    Args:
        device (str): Where it computes.
        log (Path): What it prints is added to this file.
    """

    def __init__(self, device: str, log: Path) -> None:
        self.device = device
        self.log = log
        self._process: Any = None

    def run(self, part: Part, seconds: float) -> dict[str, Any]:
        """Run a part.

        Args:
            part (Part): What.
            seconds (float): When these have passed, it is killed.

        Raises:
            PartError: If it raised, died or was killed.

        Returns:
            dict: What the job returned, and ``warned``: what the package warned of.
        """
        if self._process is None:
            self._start()
        try:
            self._line.send(part)
            if not self._line.poll(seconds):
                self.stop()
                raise PartError(f'stopped after {seconds:.0f} s')
            result, error, healthy = self._line.recv()
        except (EOFError, ConnectionError):
            self._process.join(PATIENCE)
            code = self._process.exitcode
            self.stop()
            raise PartError(f'the process ended by itself, code {code}') from None
        if not healthy:
            self.stop()
        if error:
            raise PartError(error)
        return result

    def stop(self) -> None:
        """End the process, by force where it does not wait for a part."""
        if self._process is not None:
            self._line.close()
            self._process.join(PATIENCE)
            with suppress(ProcessLookupError):  # and what it has started
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()  # it may not have its group yet
            self._process.join(PATIENCE)
            self._process = None

    def _start(self) -> None:
        # Not forked from this process: CUDA does not survive that. From one that has
        # not touched it.
        context = multiprocessing.get_context('forkserver')
        self._line, end = context.Pipe()
        self._process = context.Process(target=_work, args=(end, self.device, self.log))
        self._process.start()
        end.close()


def _work(line: Connection, device: str, log: Path) -> None:
    """Run what comes along the line until it is closed."""
    os.setpgid(0, 0)  # a group of its own, which is ended as one
    with open(log, 'ab') as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    choose_device(device)
    with suppress(EOFError):
        while True:
            line.send(_attempt(line.recv(), device))


def _attempt(part: Part, device: str) -> tuple[dict[str, Any] | None, str, bool]:
    """Return a part's result, its error in a line, and whether all is well after it."""
    print(f'--- {part.name}', flush=True)
    result, reason = None, ''
    try:
        with _Warnings() as warned:
            result = part.job(device) | dict(warned=warned.lines)
    except Exception as error:
        traceback.print_exc()
        reason = one_line(error)
    gc.collect()
    try:
        if device.startswith('cuda'):
            torch.cuda.empty_cache()
            torch.zeros(1, device=device).add_(1).item()
    except RuntimeError as error:  # nothing runs after an illegal memory access
        return result, reason or one_line(error), False
    return result, reason, True


class _Warnings(logging.Handler):
    """Keeps what the package warns of: of a kernel that it does not use, say."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._logger = logging.getLogger('mmfrcnn')

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        print(record.getMessage(), flush=True)

    def __enter__(self) -> _Warnings:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)


def one_line(error: BaseException) -> str:
    """Say what an error was in a line.

    Example:
        >>> one_line(ValueError('too large: 3' + chr(10) + 'and a long story'))
        'ValueError: too large: 3'
    """
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0]}' if lines else type(error).__name__
