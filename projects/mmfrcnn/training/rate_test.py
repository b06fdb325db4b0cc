"""The learning-rate range test (Smith 2017, section 3.3): the loss as the rate rises.

Smith: "Cyclical Learning Rates for Training Neural Networks", WACV 2017. What is read
off the curve is his and Gugger's ("How do you find a good learning rate", 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from tqdm import tqdm

MEMORY = 0.9
"""What a running mean keeps of the one before: it looks back some ten updates."""
DIVERGED = 4
"""At so many times its lowest, the running mean of the loss has diverged (Gugger)."""
HALF = 5
"""So many updates before and after one are averaged with it, to read the curve."""
BEGUN = 0.1
"""From this share of its whole fall on, the smoothed loss is falling."""
BELOW_LOWEST = 10
"""The rate to train with is so many times smaller than that of the lowest loss
(Gugger): there the loss still falls fast."""


class RateRangeHook(Hook):
    """Raises the learning rate from one iteration to the next; notes each loss.

    The rates of the optimizer's groups keep their proportions. An update that several
    iterations accumulate has one rate. Training ends where the loss diverges.

    Args:
        rates (Sequence[float]): Of each update, in the terms of ``configured``.
        configured (float): The config's learning rate, which the groups' are made of.

    Attributes:
        losses (list[float]): Of each update, as far as training went.
    """

    priority = 'VERY_HIGH'

    def __init__(self, rates: Sequence[float], configured: float) -> None:
        self.rates = list(rates)
        self.configured = configured
        self.losses: list[float] = []
        self._parts: list[float] = []

    def before_train(self, runner: Runner) -> None:
        """Remember the rates that the config gives to the groups."""
        self._groups = [group['lr'] for group in runner.optim_wrapper.param_groups]
        self._bar = tqdm(total=len(self.rates), desc='learning rates', disable=None)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Set the rates."""
        factor = self.rates[len(self.losses)] / self.configured
        groups = runner.optim_wrapper.param_groups
        for group, rate in zip(groups, self._groups, strict=True):
            group['lr'] = rate * factor

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Note the loss; end with the last update or a loss that diverges."""
        self._parts.append((outputs or {})['loss'].item())
        if len(self._parts) < getattr(runner.optim_wrapper, '_accumulative_counts', 1):
            return
        self.losses.append(sum(self._parts) / len(self._parts))
        self._parts = []
        self._bar.update()
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            loop.stop_training = has_diverged(self.losses)

    def after_train(self, runner: Runner) -> None:
        """End the bar."""
        self._bar.close()


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether the last of some losses is one too many.

    By an exponential moving average, without the bias of its start.
    """
    means, total, weight = [], 0.0, 0.0
    for loss in losses:
        total = MEMORY * total + (1 - MEMORY) * loss
        weight = MEMORY * weight + (1 - MEMORY)
        means.append(total / weight)
    return not (math.isfinite(means[-1]) and means[-1] <= DIVERGED * min(means))


def smoothed(losses: Sequence[float]) -> list[float]:
    """Average each loss with those around it, where there are any."""
    parts = (losses[max(i - HALF, 0) : i + HALF + 1] for i in range(len(losses)))
    return [sum(part) / len(part) for part in parts]


@dataclass
class RateRange:
    """A range test's curve, and what is read off it.

    Attributes:
        rates (list[float]): Rising, of each update.
        losses (list[float]): As many.
        smoothed (list[float]): Each averaged with those around it; the loss that ended
            the test stays alone.
        lowest (int): Where the smoothed loss is lowest.
        diverged (bool): Whether the test ended because the loss diverged.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    lowest: int
    diverged: bool

    @classmethod
    def of(cls, rates: Sequence[float], losses: Sequence[float]) -> RateRange:
        """Smooth the losses (at least one) of the first rates."""
        diverged = has_diverged(losses)
        kept = losses[:-1] if diverged else losses
        means = [*smoothed(kept), *losses[len(kept) :]]
        lowest = min(range(len(means)), key=means.__getitem__)
        return cls(list(rates[: len(losses)]), list(losses), means, lowest, diverged)

    @property
    def falls(self) -> bool:
        """Whether the loss falls at all, at a rate from which one may step down."""
        return self.suggested >= self.rates[0]

    @property
    def ends_falling(self) -> bool:
        """Whether the test ended before the loss rose again."""
        return self.lowest + HALF >= len(self.rates) - 1 and not self.diverged

    @property
    def highest(self) -> float:
        """The rate of the lowest loss: beyond it, the loss rises (Smith's bound)."""
        return self.rates[self.lowest]

    @property
    def suggested(self) -> float:
        """The rate to train with."""
        return self.highest / BELOW_LOWEST

    @property
    def least(self) -> float:
        """The rate from which on the loss falls (Smith's lower bound)."""
        first, last = self.smoothed[0], self.smoothed[self.lowest]
        fallen = first - BEGUN * (first - last)
        place = next(i for i, loss in enumerate(self.smoothed) if loss <= fallen)
        return self.rates[place]


def rising_rates(low: float, high: float, count: int) -> list[float]:
    """Return rates from ``low`` to ``high``, each so many times the one before.

    >>> [round(rate, 4) for rate in rising_rates(0.001, 1, 4)]
    [0.001, 0.01, 0.1, 1.0]
    """
    return [low * (high / low) ** (i / (count - 1)) for i in range(count)]
