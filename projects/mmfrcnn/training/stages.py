"""The stages of the data flow, and the time that each takes of a step.

A stage is some functions of the model. While they are watched, each call starts its
stage's clock and stops that of the stage it is called from, so times are exclusive and
add up to the whole.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

STAGES = (
    'preprocess',
    'backbone',
    'neck',
    'RPN convolutions',
    'anchors, assignment, sampling',
    'RPN losses',
    'proposals',
    'RoI assignment, sampling',
    'RoI features',
    'head linear layers',
    'head losses',
    'detections',
    'backward',
    'optimizer',
    'other',
)
BEFORE_THE_HEADS = ('preprocess', 'backbone', 'neck', 'optimizer')
MATCHING = ('anchors, assignment, sampling', 'RoI assignment, sampling')


class Region(NamedTuple):
    """A function that belongs to a stage: ``getattr(owner, attribute)``."""

    owner: Any
    attribute: str
    stage: str


@contextmanager
def watched(
    regions: Sequence[Region], entered: Callable[[str], AbstractContextManager]
) -> Iterator[None]:
    """Have every call of a region's function run inside ``entered(stage)``.

    Args:
        regions (Sequence[Region]): Functions, restored on leaving.
        entered (Callable): Makes the context manager that a call runs in.
    """
    undo = []
    for owner, attribute, stage in regions:
        own = vars(owner).get(attribute)
        function = getattr(owner, attribute)
        setattr(owner, attribute, _inside(function, stage, entered))
        undo.append((owner, attribute, own))
    try:
        yield
    finally:
        for owner, attribute, own in reversed(undo):
            if own is None:
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, own)


def _inside(
    function: Callable, stage: str, entered: Callable[[str], AbstractContextManager]
) -> Callable:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with entered(stage):
            return function(*args, **kwargs)

    return run


class Stopwatch:
    """Exclusive seconds of each stage.

    Args:
        wait (Callable): Called at each change of stage; on a GPU it waits for the
            device, or times would be those of the launches.
    """

    def __init__(self, wait: Callable[[], None]) -> None:
        self.wait = wait
        self._running = ['other']
        self.reset()

    def reset(self) -> None:
        """Forget all times."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.wait()
        self._since = time.perf_counter()

    def stop(self) -> dict[str, float]:
        """Return the seconds of each stage since the last reset."""
        self._lap()
        return dict(self.seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside for a stage."""
        self._lap()
        self._running.append(name)
        try:
            yield
        finally:
            self._lap()
            self._running.pop()

    def _lap(self) -> None:
        self.wait()
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now
