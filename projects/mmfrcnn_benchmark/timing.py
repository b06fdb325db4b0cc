"""Turns of the contenders in one process, and what their times say."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Median, quartiles and number of some measurements."""

    median: float
    low: float
    high: float
    count: int

    @property
    def spread(self) -> float:
        """Interquartile range."""
        return self.high - self.low


def summarise(values: Sequence[float]) -> Summary:
    """Return the median and the quartiles."""
    if not values:
        raise ValueError('nothing was measured')
    if len(values) == 1:
        return Summary(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method='inclusive')
    return Summary(median, low, high, len(values))


def paired_ratio(values: Sequence[float], base: Sequence[float]) -> Summary:
    """Summarise value / base round by round: what drifts hits both of a round."""
    return summarise([a / b for a, b in zip(values, base, strict=True)])


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, list]:
    """Call all in turn, forth and back (A-B-C, C-B-A, ...), and keep what they return.

    Args:
        runs (dict[str, Callable]): What each contender does in a round.
        rounds (int): Measured rounds.
        warmup (int): Rounds before, thrown away.
        progress (Callable): Told the progress.

    Returns:
        dict[str, list]: What each returned, round by round.
    """
    results: dict[str, list] = {name: [] for name in runs}
    start = time.monotonic()
    for number in range(-warmup, rounds):
        order = list(runs) if number % 2 == 0 else list(runs)[::-1]
        for name in order:
            result = runs[name]()
            if number >= 0:
                results[name].append(result)
        done = number + warmup + 1
        left = (time.monotonic() - start) / done * (rounds - number - 1)
        kind = 'warm-up' if number < 0 else f'round {number + 1} of {rounds}'
        progress(f'{kind} done, about {left:.0f} s left')
    return results


def clocked(
    function: Callable[[], object], wait: Callable[[], None], repeats: int = 1
) -> Callable[[], float]:
    """Return a function that runs another and answers with its seconds.

    Args:
        function (Callable): What is timed.
        wait (Callable): Waits for the device.
        repeats (int): Calls between two waits; the seconds are those of one. For what
            is shorter than a wait.
    """

    def run() -> float:
        wait()
        start = time.perf_counter()
        for _ in range(repeats):
            function()
        wait()
        return (time.perf_counter() - start) / repeats

    return run
