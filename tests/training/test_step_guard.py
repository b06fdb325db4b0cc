"""Steps that are not finite change nothing; others are as without the guard."""

from __future__ import annotations

import copy
import gc
import math
import weakref

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmfrcnn_benchmark.fake_device import DEVICE, fake_device

from mmfrcnn.training.not_finite import guard as module
from mmfrcnn.training.not_finite import recent as recent_module
from mmfrcnn.training.not_finite.guard import StepGuard
from mmfrcnn.training.not_finite.recent import RecentSteps, Step

from .test_gradients import Scaled

OPTIMIZERS = {
    'sgd': lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    'adamw': lambda p: torch.optim.AdamW(p, 0.1),
}


class Network(torch.nn.Module):
    """A batch norm counts and averages in the forward pass; one weight is a number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs):
        return self.norm(self.layer(inputs)).square().sum() * self.scale


@pytest.fixture(params=[True, False], ids=['on the host', 'as on a GPU'])
def known(request, monkeypatch):
    monkeypatch.setattr(module, 'host_knows', lambda tensor: request.param)
    return request.param


def good(seed):
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))


def bad(seed):
    batch = good(seed)
    batch[0, 0] = math.nan
    return batch


def train(
    batches,
    optimizer='sgd',
    guard=None,
    clip=None,
    every=1,
    loss=lambda x: x,
    guarded_from=0,
):
    """Train a network on some batches; return it with its optimizer's state.

    The guard comes with the first batch, or later, as to a resumed run.
    """
    torch.manual_seed(0)
    model = Network()
    weights = list(model.parameters())
    wrapper = OptimWrapper(
        OPTIMIZERS[optimizer](weights), clip_grad=clip, accumulative_counts=every
    )
    for place, batch in enumerate(batches):
        if guard and place >= guarded_from:
            guard.watch(wrapper, model)
        wrapper.update_params(loss(model(batch)))
    states = [value for s in wrapper.optimizer.state.values() for value in s.values()]
    return {**model.state_dict(), **dict(enumerate(states))}


def assert_equal(found, expected, names=None):
    for name in names or expected:
        assert torch.equal(found[name], expected[name]), name


def of_model(state):
    return [name for name in state if isinstance(name, str)]


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('clip', [None, dict(max_norm=0.1)])
def test_good_steps_are_as_without_it_to_the_bit(known, optimizer, clip):
    batches = [good(seed) for seed in range(4)]
    plain = train(batches, optimizer, None, clip)
    for goes_on in (False, True):
        assert_equal(train(batches, optimizer, StepGuard(goes_on), clip), plain)


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_after_a_bad_step_nothing_changes(known, optimizer):
    before = train([good(0), good(1)], optimizer)
    guard = StepGuard()
    after = train([good(0), good(1), bad(2), good(3), good(4)], optimizer, guard)
    assert_equal(after, before, of_model(before))


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('place', [0, 1, 3])
def test_a_bad_step_is_left_out_and_training_goes_on(known, optimizer, place):
    batches = [good(seed) for seed in range(3)]
    expected = train(batches, optimizer)
    batches[place:place] = [bad(7), bad(8)]
    assert_equal(train(batches, optimizer, StepGuard(goes_on=True)), expected)


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_the_first_step_of_a_resumed_run_may_be_bad(known, optimizer):
    guard = StepGuard(goes_on=True)
    batches = [good(0), good(1), bad(2), good(3)]
    found = train(batches, optimizer, guard, guarded_from=2)
    assert_equal(found, train([good(0), good(1), good(3)], optimizer))


def test_an_accumulated_step_is_bad_with_any_of_its_parts(known):
    batches = [good(0), good(1), good(2), bad(3), good(4), good(5)]
    found = train(batches, guard=StepGuard(goes_on=True), every=2)
    expected = train([*batches[:2], *batches[4:]], every=2)
    weights = [name for name in of_model(expected) if 'running' not in name]
    assert_equal(found, expected, {*weights} - {'norm.num_batches_tracked'})


def test_an_infinite_loss_counts_though_its_gradient_is_finite(known):
    found = train([good(0)], guard=StepGuard(), loss=lambda x: x + math.inf)
    assert_equal(found, train([]), of_model(found))


def test_a_gradient_counts_though_its_loss_is_finite(known):
    # The root's slope at 0 is infinite.
    found = train([good(0)], guard=StepGuard(), loss=lambda x: (x - x).sqrt() + x)
    assert_equal(found, train([]), of_model(found))


def test_the_norm_is_that_of_the_whole_gradient_before_clipping():
    guard = StepGuard()
    train([good(0)], guard=guard, clip=dict(max_norm=1e-3))
    torch.manual_seed(0)
    model = Network()
    gradients = torch.autograd.grad(model(good(0)), list(model.parameters()))
    squares = sum(float((one.double() ** 2).sum()) for one in gradients)
    assert float(guard.norm) == pytest.approx(squares**0.5, rel=1e-5)


def test_with_a_scaled_loss_the_scaler_decides_and_learns_of_infinite_ones():
    model = torch.nn.Linear(3, 1)
    before = copy.deepcopy(model.state_dict())
    wrapper = Scaled(torch.optim.SGD(model.parameters(), 0.1))
    guard = StepGuard()
    guard.watch(wrapper, model)
    wrapper.update_params(model(good(0)).sum() + math.inf)
    assert_equal(model.state_dict(), before)
    assert wrapper.loss_scaler.get_scale() == 512.0
    guard.watch(wrapper, model)
    wrapper.update_params(model(good(0)).sum())
    assert not torch.equal(model.weight, before['weight'])
    expected = torch.cat([good(0).sum(0), torch.tensor([5.0])]).norm()
    assert float(guard.norm) == pytest.approx(float(expected), rel=1e-5)


def test_with_a_scaled_loss_statistics_are_put_back(known):
    torch.manual_seed(0)
    model, guard = Network(), StepGuard()
    wrapper = Scaled(torch.optim.SGD(model.parameters(), 0.1))
    for batch in (good(0), bad(1), good(2)):
        guard.watch(wrapper, model)
        wrapper.update_params(model(batch))
    assert model.norm.num_batches_tracked == 2
    assert model.norm.running_var.isfinite().all()
    assert model.scale.isfinite() and model.scale != 2


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('goes_on', [False, True])
def test_a_gpu_is_not_waited_for(optimizer, goes_on):
    with fake_device() as counted:
        model = Network().to(DEVICE)
        guard = StepGuard(goes_on)
        wrapper = OptimWrapper(OPTIMIZERS[optimizer](list(model.parameters())))
        guard.watch(wrapper, model)
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight)
        wrapper.step()
        wrapper.step()  # now there is state
        counted.waits.clear()
        counted.total = 0
        wrapper.step()
        assert guard.norm.device == DEVICE
    assert counted.total > 10
    assert counted.waits == {}


def test_another_optimizer_is_guarded_too_and_each_once():
    guard, model = StepGuard(), Network()
    for _ in range(2):
        wrapper = OptimWrapper(OPTIMIZERS['sgd'](list(model.parameters())))
        assert guard.watch(wrapper, model)
        assert not guard.watch(wrapper, model)
    assert not guard.watch(object(), model)


class Batch(dict):
    """One that can be seen to go."""


def test_batches_are_let_go_of_when_they_are_good_and_the_first_bad_one_is_kept():
    recent, alive = RecentSteps(), []
    for iteration in range(1, 6):
        batch = Batch()
        alive.append(weakref.ref(batch))
        step = Step(iteration, batch, 0, [])
        recent.add(step, torch.tensor(iteration not in (3, 4)))
    del batch, step
    gc.collect()
    assert [ref() is not None for ref in alive] == [False, False, True, False, False]
    recent.wait()
    assert recent.bad.iteration == 3


class Event:
    """Of a copy that arrives when somebody waits for it, at the latest."""

    def __init__(self) -> None:
        self.arrived = False

    def query(self):
        return self.arrived

    def synchronize(self):
        self.arrived = True


def test_verdicts_that_are_on_their_way_are_not_waited_for_but_for_many(monkeypatch):
    events = []

    def on_its_way(fine):
        events.append(Event())
        return fine, events[-1]

    monkeypatch.setattr(recent_module, '_on_its_way', on_its_way)
    recent = RecentSteps()
    for iteration in range(1, 7):
        recent.add(Step(iteration, {}, 0, []), torch.tensor(iteration not in (5, 6)))
    assert recent.bad is None and not any(event.arrived for event in events)
    recent.wait()
    assert recent.bad.iteration == 5

    recent = RecentSteps()
    events.clear()
    for iteration in range(1, 21):
        recent.add(Step(iteration, {}, 0, []), torch.tensor(True))
    assert [event.arrived for event in events] == [True] * 12 + [False] * 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('goes_on', [False, True])
def test_on_a_gpu(goes_on):
    """A bad step changes nothing, its batch is found, and nobody waits for it."""
    model = Network().cuda()
    wrapper = OptimWrapper(OPTIMIZERS['adamw'](list(model.parameters())))
    guard, recent = StepGuard(goes_on), RecentSteps()
    batches = [good(0).cuda(), good(1).cuda(), bad(2).cuda()]
    for iteration, batch in enumerate(batches):
        before = copy.deepcopy(model.state_dict())
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode('error')
        try:
            guard.watch(wrapper, model)
            loss = model(batch)
            wrapper.update_params(loss)
            fine = loss.detach().isfinite() & guard.norm.isfinite()
            recent.add(Step(iteration, batch, 0, []), fine)
        finally:
            torch.cuda.set_sync_debug_mode('default')
    assert_equal(model.state_dict(), before)
    recent.wait()
    assert recent.bad.iteration == 2
