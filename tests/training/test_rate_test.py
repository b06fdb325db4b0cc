"""The range test's curve, on losses and optimizers whose answer is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper

from mmfrcnn.training.rate_test import (
    RateRange,
    RateRangeHook,
    has_diverged,
    rising_rates,
    smoothed,
)

RATES = rising_rates(1e-5, 1, 51)  # ten a decade


def curve(loss):
    return RateRange.of(RATES, [loss(i) for i in range(len(RATES))])


def test_rates_rise_by_one_factor():
    rates = np.array(rising_rates(3e-4, 0.7, 20))
    assert rates[[0, -1]] == pytest.approx([3e-4, 0.7])
    assert rates[1:] / rates[:-1] == pytest.approx(
        np.full(19, (0.7 / 3e-4) ** (1 / 19))
    )


def test_a_loss_diverges_by_its_average_weighted_by_age():
    values = np.random.default_rng(0).random(60) ** 6
    seen = []
    for count in range(1, 61):
        weights = 0.9 ** np.arange(60)[::-1]
        means = [
            np.average(values[:n], weights=weights[60 - n :])
            for n in range(1, count + 1)
        ]
        seen.append(means[-1] > 4 * min(means))
        assert has_diverged(values[:count].tolist()) == seen[-1]
    assert 0 < sum(seen) < 60


def test_a_loss_is_averaged_with_those_around_it():
    values = np.random.default_rng(0).random(30)
    found = smoothed(values.tolist())
    padded = np.pad(values, 5, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 11)
    assert found == pytest.approx(np.nanmean(windows, axis=1))


def test_a_curve_that_falls_and_rises():
    """It falls from the 10th update on, is lowest at the 30th and rises then."""
    found = curve(lambda i: 3 - 0.1 * min(max(i - 10, 0), 20) + 0.02 * max(i - 30, 0))
    assert not found.diverged and found.falls and not found.ends_falling
    assert 28 <= found.lowest <= 34
    assert found.highest == RATES[found.lowest]
    assert found.suggested == pytest.approx(found.highest / 10)
    assert RATES[10] < found.least < RATES[25] < found.highest
    fall = found.smoothed[0] - min(found.smoothed)
    place = RATES.index(found.least)
    assert found.smoothed[0] - found.smoothed[place] >= 0.1 * fall
    assert found.smoothed[0] - found.smoothed[place - 1] < 0.1 * fall


def test_a_curve_that_only_falls_or_only_rises():
    assert curve(lambda i: 3 - 0.05 * i).ends_falling
    rising = curve(lambda i: 1 + 0.05 * i)
    assert not rising.falls and not rising.ends_falling
    level = curve(lambda i: 1.0)
    assert not level.falls


@pytest.mark.parametrize('bad', [math.nan, math.inf, 1e9])
def test_a_loss_that_diverges_is_not_the_lowest(bad):
    found = RateRange.of(RATES, [*np.linspace(3, 2, 30), bad])
    assert found.diverged and not found.ends_falling
    assert found.lowest == 29 and len(found.rates) == 31
    nothing = RateRange.of(RATES, [bad, bad])
    assert not nothing.falls


class Loop:
    """Trains a weight of x ** 2 / 2, whose gradient descent diverges beyond rate 2."""

    def __init__(self, hook, accumulate=1, groups=None) -> None:
        from mmengine.runner import IterBasedTrainLoop

        self.weight = torch.nn.Parameter(torch.tensor(1.0))
        other = torch.nn.Parameter(torch.tensor(0.0))
        rates = groups or [0.1, 0.01]
        self.optimizer = torch.optim.SGD(
            [
                dict(params=[self.weight], lr=rates[0]),
                dict(params=[other], lr=rates[1]),
            ]
        )
        wrapper = OptimWrapper(self.optimizer, accumulative_counts=accumulate)
        train_loop = IterBasedTrainLoop.__new__(IterBasedTrainLoop)
        train_loop.stop_training = False
        runner = SimpleNamespace(optim_wrapper=wrapper, train_loop=train_loop)
        self.seen = []
        hook.before_train(runner)
        for iteration in range(len(hook.rates) * accumulate):
            hook.before_train_iter(runner, iteration)
            self.seen.append([group['lr'] for group in self.optimizer.param_groups])
            loss = self.weight**2 / 2
            wrapper.update_params(loss)
            hook.after_train_iter(runner, iteration, None, dict(loss=loss))
            if train_loop.stop_training:
                break
        hook.after_train(runner)


def test_groups_keep_their_proportions_and_the_rates_are_the_configs():
    rates = rising_rates(1e-3, 1e-1, 8)
    # As with lr_mult=0.1 for a part, and auto_scale_lr that halves all.
    loop = Loop(RateRangeHook(rates, configured=0.02), groups=[0.01, 0.001])
    expected = [[rate / 2, rate / 20] for rate in rates]
    assert np.array(loop.seen) == pytest.approx(np.array(expected))


def test_it_ends_where_gradient_descent_diverges():
    hook = RateRangeHook(rising_rates(0.013, 1000, 101), configured=0.1)
    loop = Loop(hook)
    assert len(hook.losses) == len(loop.seen) < 101
    found = RateRange.of(hook.rates, hook.losses)
    assert found.diverged
    assert 2 < found.rates[-1] < 20
    # What has shrunk to next to nothing below a rate of 2 takes a while to grow.
    assert found.falls and found.highest < found.rates[-1]


def test_accumulated_iterations_have_one_rate_and_one_loss():
    hook = RateRangeHook(rising_rates(1e-3, 1e-1, 5), configured=0.1)
    loop = Loop(hook, accumulate=3)
    assert len(loop.seen) == 15 and len(hook.losses) == 5
    main = [rate for rate, _ in loop.seen]
    assert main == pytest.approx(np.repeat(hook.rates, 3))
    # The loss of an update is that of the weight before it.
    weight = 1.0
    for rate, loss in zip(hook.rates, hook.losses, strict=True):
        assert loss == pytest.approx(weight**2 / 2)
        weight -= rate * weight
