"""Several runs in one Python process, each with what belongs to it."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.logging import MessageHub, MMLogger
from mmengine.utils import ManagerMixin
from mmengine.visualization import Visualizer


def forget_earlier_runs() -> None:
    """Have the next run make a logger, records and a visualizer of its own.

    mmengine names them by the config and the second, and gives those of an earlier run
    to the next one of that name: its losses would go on in the folder of the other.
    """
    for kind in (MMLogger, MessageHub, Visualizer):
        for one in _with_kinds_of(kind):
            one._instance_dict.clear()


def _with_kinds_of(kind: type[ManagerMixin]) -> Iterator[type[ManagerMixin]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _with_kinds_of(narrower)
