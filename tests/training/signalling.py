"""A hook that sends signals at a chosen moment of a training."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class SignalAt(Hook):
    """Sends a signal once, to its process and the workers of its data loaders.

    Args:
        number (int): The signal.
        iteration (int): So many iterations are done.
        validation (bool): Whether it waits for the validation that follows.
        rank (int): The process that is told.
    """

    def __init__(
        self, number: int, iteration: int, validation: bool = False, rank: int = 0
    ) -> None:
        self.number = number
        self.iteration = iteration
        self.validation = validation
        self.rank = rank

    def _send(self, runner: Runner, validation: bool) -> None:
        now = runner.iter == self.iteration and validation == self.validation
        if now and get_rank() == self.rank:
            workers = [child.pid for child in multiprocessing.active_children()]
            for process in (*workers, os.getpid()):
                os.kill(process, self.number)

    def before_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self._send(runner, validation=False)

    def before_val_iter(
        self, runner: Runner, batch_idx: int, *_: Any, **__: Any
    ) -> None:
        if batch_idx == 0:
            self._send(runner, validation=True)
