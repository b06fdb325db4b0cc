"""The norms of gradients, by hand: of what is clipped, scaled or accumulated later."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from mmfrcnn.training.gradients import GradientHook, gradient_norms


class Parts(torch.nn.Module):
    """Three parts; one is frozen, and one has no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Linear(3, 2)
        self.neck = torch.nn.Linear(2, 2).requires_grad_(False)
        self.act = torch.nn.ReLU()
        self.rpn_head = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.rpn_head(self.neck(self.backbone(x))).sum()


def expected(model, batches):
    """Return the norms of the mean gradient of some batches."""
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    total = dict.fromkeys(trained, 0.0)
    for inputs in batches:
        gradients = torch.autograd.grad(model(inputs), list(trained.values()))
        for name, gradient in zip(trained, gradients, strict=True):
            total[name] = total[name] + gradient.double() / len(batches)
    squares = {'gradient_backbone': 0.0, 'gradient_rpn_head': 0.0}
    for name, gradient in total.items():
        squares[f'gradient_{name.split(".")[0]}'] += float((gradient**2).sum())
    return {name: square**0.5 for name, square in squares.items()}


def run(wrapper, model, batches, interval, epoch=100):
    """Train as a loop does; return the norms that each iteration gives."""
    hook = GradientHook()
    runner = SimpleNamespace(
        iter=0,
        model=model,
        optim_wrapper=wrapper,
        hooks=[LoggerHook(interval=interval)],
        train_dataloader=range(epoch),
    )
    hook.before_train(runner)
    found = []
    for iteration, inputs in enumerate(batches):
        hook.before_train_iter(runner, iteration % epoch)
        outputs = dict(loss=model(inputs))
        wrapper.update_params(outputs['loss'])
        hook.after_train_iter(runner, iteration % epoch, None, outputs)
        found.append({k: float(v) for k, v in outputs.items() if k != 'loss'})
    return found


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Parts()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return list(torch.randn(7, 4, 3, generator=generator))


def sgd(model, lr=0.0):
    weights = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(weights, lr)


def test_norms_of_parts_before_clipping_at_the_start_of_each_interval(model, batches):
    wrapper = OptimWrapper(sgd(model), clip_grad=dict(max_norm=1e-3))
    found = run(wrapper, model, batches, interval=3)
    for place, norms in enumerate(found):
        assert bool(norms) == (place in (0, 3, 6))
        if norms:
            assert norms == pytest.approx(expected(model, [batches[place]]), rel=1e-5)


def test_an_epoch_that_ends_begins_an_interval(model, batches):
    found = run(OptimWrapper(sgd(model)), model, batches, interval=100, epoch=2)
    assert [bool(norms) for norms in found] == [place % 2 == 0 for place in range(7)]


def test_accumulated_gradients_are_one_update(model, batches):
    wrapper = OptimWrapper(sgd(model), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 100)
    found = run(wrapper, model, batches[:6], interval=3)
    assert [bool(norms) for norms in found] == [False, True, False, True, False, False]
    assert found[1] == pytest.approx(expected(model, batches[:2]), rel=1e-5)
    assert found[3] == pytest.approx(expected(model, batches[2:4]), rel=1e-5)


class Scaled(AmpOptimWrapper):
    """Mixed precision, for which mmengine asks for a GPU."""

    def __init__(self, optimizer, **options) -> None:
        OptimWrapper.__init__(self, optimizer, **options)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)
        self._scale_update_param = None


@pytest.mark.parametrize('clip', [None, dict(max_norm=1e-3)])
def test_gradients_are_those_of_the_loss_and_not_scaled(model, batches, clip):
    wrapper = Scaled(sgd(model), clip_grad=clip)
    found = run(wrapper, model, batches[:2], interval=1)
    for norms, inputs in zip(found, batches, strict=False):
        assert norms == pytest.approx(expected(model, [inputs]), rel=1e-5)


def test_another_optimizer_is_watched_too(model, batches):
    hook = GradientHook()
    runner = SimpleNamespace(iter=0, model=model, hooks=[], train_dataloader=range(100))
    hook.before_train(runner)
    for inputs in batches[:2]:  # one after the other, as in alternating training
        runner.optim_wrapper = OptimWrapper(sgd(model))
        hook.before_train_iter(runner, 0)
        outputs = {}
        runner.optim_wrapper.update_params(model(inputs))
        hook.after_train_iter(runner, 0, None, outputs)
        assert outputs == pytest.approx(expected(model, [inputs]), rel=1e-5)


def test_without_gradients_there_is_no_norm(model):
    assert gradient_norms(model) == {}
    model.rpn_head.weight.grad = torch.tensor([[3.0, 4.0]])
    assert {k: float(v) for k, v in gradient_norms(model).items()} == {
        'gradient_rpn_head': 5.0
    }
    model.rpn_head.weight.grad[0, 0] = torch.inf
    assert torch.isinf(gradient_norms(model)['gradient_rpn_head'])


def test_nothing_is_read(model, batches):
    """On a device without values: who asks for one fails."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        norms = gradient_norms(model, torch.tensor(2.0))
    assert {norm.shape for norm in norms.values()} == {()}
