"""What a run shows on the console: what matters. Its log file has all of it.

mmengine writes the same to both: the environment, the whole config, every hook, every
iteration. Here the console is left what this package and a user's own hooks say, and
the warnings of all.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmcv
import mmdet
import mmengine
from mmengine.logging import MMLogger, print_log
from mmengine.runner import Runner
from pycocotools import coco, cocoeval
from tqdm import tqdm

FRAMEWORKS = tuple(
    str(Path(package.__file__).parent) + os.sep for package in (mmengine, mmdet, mmcv)
)
OF_THEMSELVES = (
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'Please make sure that the mlflow server is running',
    '`save_param_scheduler` is True but `self.param_schedulers` is None',
)
"""How warnings begin that mmengine gives of its own parts, in every run."""


def say(text: str) -> None:
    """Print a text above the progress bar, if there is one."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


class QuietRunner(Runner):
    """mmengine's Runner, whose console shows what matters."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger: before anything is said, the environment first of all."""
        logger = super().build_logger(*args, **kwargs)
        quieten(logger)
        return logger


def quieten(logger: logging.Logger) -> None:
    """Put a `ConsoleHandler` in place of what writes a log to the console."""
    for place, handler in enumerate(logger.handlers):
        if type(handler) is logging.StreamHandler:
            logger.handlers[place] = ConsoleHandler(handler.level, handler.filters)


class ConsoleHandler(logging.StreamHandler):
    """Prints messages as they are, and those of frameworks only if they warn.

    A message is a framework's by the file that logs it; ``print_log`` is mmengine's.

    Args:
        level (int): The lowest level; mmengine sets it high in all processes but one.
        filters (Any): Those of the handler in whose place it is put.
    """

    def __init__(self, level: int, filters: Any) -> None:
        super().__init__(sys.stdout)
        self.setLevel(level)
        self.filters = [*filters, self.matters]

    def matters(self, record: logging.LogRecord) -> bool:
        """Whether the console shows a message."""
        if record.levelno < logging.WARNING:
            return not record.pathname.startswith(FRAMEWORKS)
        return not record.getMessage().startswith(OF_THEMSELVES)

    def format(self, record: logging.LogRecord) -> str:
        """Return the message; a warning says that it is one."""
        text = super().format(record)
        if record.levelno < logging.WARNING:
            return text
        return f'{record.levelname}: {text}'

    def emit(self, record: logging.LogRecord) -> None:
        """Print it above the progress bar, if there is one."""
        tqdm.write(self.format(record), file=self.stream)
        self.flush()


@contextmanager
def quiet_coco() -> Iterator[None]:
    """Have the log file told, and not the console, what pycocotools prints.

    That it loads, indexes and evaluates; and its summary, whose figures are metrics.
    """

    def to_log(*words: Any, **options: Any) -> None:
        print_log(' '.join(map(str, words)), 'current')

    coco.print = cocoeval.print = to_log
    try:
        yield
    finally:
        del coco.print, cocoeval.print
