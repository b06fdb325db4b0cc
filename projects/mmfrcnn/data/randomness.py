"""Random numbers as a function of what they are drawn for, not of who draws them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


def seed_generators(key: Sequence[int]) -> None:
    """Seed Python's, numpy's and torch's generators, those of all devices too.

    Args:
        key (Sequence[int]): What the numbers are for: counts, from 0 on.
    """
    for_python, for_numpy, for_torch = _seeds(key)
    random.seed(for_python)
    np.random.seed(for_numpy)
    torch.manual_seed(for_torch)


@contextmanager
def own_random_numbers(key: Sequence[int]) -> Iterator[None]:
    """Seed the generators of the host for a while; they go on as before after it."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    for_python, for_numpy, for_torch = _seeds(key)
    random.seed(for_python)
    np.random.seed(for_numpy)
    # Not torch.manual_seed, which seeds the GPUs as well.
    torch.default_generator.manual_seed(for_torch)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def _seeds(key: Sequence[int]) -> list[int]:
    return np.random.SeedSequence(list(key)).generate_state(3).tolist()
