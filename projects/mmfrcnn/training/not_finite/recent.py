"""The batches of the last iterations, until their losses are known to be finite."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST = 8
"""Batches whose verdict is on its way: beyond, the host waits for the oldest. It is
then so far ahead of the GPU that the GPU waits for nothing."""


@dataclass
class Step:
    """What an iteration was computed from, besides the weights.

    Attributes:
        iteration: Counted from 1.
        batch: As from the data loader.
        seed: torch's, of this process.
        draws: How many samples each balanced sampler had drawn before.
    """

    iteration: int
    batch: Any
    seed: int
    draws: list[int]


class RecentSteps:
    """Lets go of a batch when its verdict has come from the device, if that is good.

    Attributes:
        bad (Step | None): The first whose verdict was not, as far as they have come.
    """

    def __init__(self) -> None:
        self.bad: Step | None = None
        self._waiting: deque[tuple[Step, Tensor, torch.cuda.Event | None]] = deque()

    def add(self, step: Step, fine: Tensor) -> None:
        """Keep a step, until ``fine``, shape (), has come and says that it is good."""
        if self.bad is not None:
            return
        self._waiting.append((step, *_on_its_way(fine)))
        while self._waiting and self._has_come():
            self._judge()

    def wait(self) -> None:
        """Wait for all verdicts."""
        while self._waiting:
            self._judge()

    def _has_come(self) -> bool:
        _, _, event = self._waiting[0]
        return event is None or event.query() or len(self._waiting) > MOST

    def _judge(self) -> None:
        step, fine, event = self._waiting.popleft()
        if event is not None:
            event.synchronize()
        if not fine:
            self.bad = step
            self._waiting.clear()


def _on_its_way(fine: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Start the copy of a verdict to the host, and return what tells its arrival."""
    if fine.device.type != 'cuda':
        return fine, None
    there = torch.empty((), dtype=torch.bool, pin_memory=True)
    there.copy_(fine, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return there, event
