"""The log's numbers are mmengine's, read together; a diverged training ends."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper

from mmfrcnn.errors import UserError
from mmfrcnn.training import loss_record
from mmfrcnn.training.loss_record import DivergedError, _Iteration


class _Waits(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts what makes a host wait."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def run(hook, name: str, losses: list[float], interval: int, epoch: int, **more):
    """Call a hook as a training loop does; return its hub and the waits it caused."""
    runner = SimpleNamespace(
        model=torch.nn.Linear(1, 1),
        optim_wrapper=SimpleNamespace(),
        message_hub=MessageHub(name),
        hooks=[LoggerHook(interval=interval)],
        train_dataloader=_Sized(epoch),
        epoch=0,
        iter=0,
        max_epochs=1,
        max_iters=len(losses),
    )
    vars(runner).update(more)
    runner.message_hub.update_scalar('train/lr', 0.25)
    hook.before_train(runner)
    with _Waits() as waits:
        for iteration, loss in enumerate(losses):
            runner.iter = iteration
            outputs = dict(loss=torch.tensor(loss), acc=torch.tensor([50.0]), extra=2)
            outputs['loss_bbox'] = torch.tensor(loss / 2)
            samples = [SimpleNamespace(img_path=f'{iteration}{x}.jpg') for x in 'ab']
            batch = dict(data_samples=samples)
            hook.after_train_iter(runner, iteration % epoch, batch, outputs)
        runner.iter = len(losses)
        hook.after_train_epoch(runner)
    return runner.message_hub, waits.count


class _Sized:
    dataset = None

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


def build(name: str):
    return HOOKS.build(dict(type=name))


@pytest.mark.parametrize('interval, epoch', [(4, 6), (5, 5), (100, 3), (1, 13)])
def test_history_is_mmengines_own(interval: int, epoch: int) -> None:
    losses = torch.rand(13).tolist()
    case = f'{interval}-{epoch}'
    stock, _ = run(build('RuntimeInfoHook'), f'stock{case}', losses, interval, epoch)
    ours, _ = run(build('LossRecordHook'), f'ours{case}', losses, interval, epoch)
    for name in ('train/loss', 'train/acc', 'train/extra'):
        expected, _ = stock.get_scalar(name).data
        history, _ = ours.get_scalar(name).data
        assert history.tolist() == expected.tolist()


def test_nothing_is_read_between_two_lines_of_the_log() -> None:
    _, stock = run(build('RuntimeInfoHook'), 'stock', [1.0] * 12, 12, 100)
    _, ours = run(build('LossRecordHook'), 'ours', [1.0] * 12, 12, 100)
    assert stock == 36
    assert ours == 0  # one copy of all: tolist


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), float('-inf')])
def test_a_diverged_training_ends_with_the_iteration_and_what_to_do(bad: float) -> None:
    with pytest.raises(UserError) as caught:
        run(build('LossRecordHook'), f'bad{bad}', [1.0, 1.0, bad, 1.0], 4, 100)
    message = str(caught.value)
    assert message.startswith(
        f'loss_bbox is {bad} at iteration 3, on 2a.jpg, 2b.jpg: the training has div'
    )
    assert '0.25' in message and 'clip_grad' in message


def test_a_figure_that_a_batch_does_not_have_is_left_out() -> None:
    hook = build('LossRecordHook')
    runner = SimpleNamespace(message_hub=MessageHub('figures'), iter=3)
    for iou in (0.5, math.nan, 0.7):
        outputs = dict(loss=torch.tensor(1.0), proposal_iou=torch.tensor(iou))
        hook._pending.append(_Iteration(outputs, ['a.jpg']))
    hook.after_train_epoch(runner)
    found = runner.message_hub.get_scalar('train/proposal_iou')
    assert found.data[0].tolist() == pytest.approx([0.5, 0.7])
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 3


@pytest.mark.parametrize('skip', [False, True])
def test_a_gradient_that_is_not_finite_is_one_loss_or_not(skip, monkeypatch) -> None:
    """Of the root of 0: its slope is infinite."""
    told = []

    def account(runner, step, **known):
        told.append((step.iteration, step.batch, known))
        return '; more'

    monkeypatch.setattr(loss_record, 'account', account)
    hook = HOOKS.build(dict(type='LossRecordHook', skip=skip))
    weight = torch.nn.Parameter(torch.tensor(1.0))
    model = torch.nn.ParameterList([weight])
    runner = SimpleNamespace(
        model=model,
        optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), 0.5)),
        message_hub=MessageHub(f'gradient{skip}'),
        hooks=[LoggerHook(interval=4)],
        train_dataloader=_Sized(100),
        logger=_Lines(),
        epoch=0,
        iter=0,
        max_epochs=1,
        max_iters=4,
    )
    hook.before_train(runner)

    def train() -> None:
        for runner.iter in range(4):
            batch = dict(data_samples=[SimpleNamespace(img_path=f'{runner.iter}.jpg')])
            hook.before_train_iter(runner, runner.iter, batch)
            # The slope is 1, and at the third iteration infinite.
            loss = weight + (0 * weight + (runner.iter != 2)).sqrt()
            runner.optim_wrapper.update_params(loss)
            hook.after_train_iter(runner, runner.iter, batch, dict(loss=loss.detach()))

    what = 'the norm of the gradient is nan at iteration 3, on 2.jpg: '
    if skip:
        train()
        assert runner.logger.lines == [
            f'{what}this step was left out, and training goes on; more'
        ]
    else:
        with pytest.raises(DivergedError, match=f'{what}the training.*; more'):
            train()
    assert weight.item() == (-0.5 if skip else 0.0)
    ((iteration, batch, known),) = told
    assert (iteration, batch['data_samples'][0].img_path) == (3, '2.jpg')
    assert known['terms'] == {} and known['exact'] == (not skip)
    assert known['norm_before'] == 1.0 and math.isnan(known['gradient_norm'])


class _Lines:
    """A logger that keeps its warnings."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, line: str) -> None:
        self.lines.append(line)


def mixed_precision(model: torch.nn.Module | None = None) -> dict:
    """What a Runner has in mixed precision; the scaler is torch's own."""
    scaler = torch.amp.GradScaler('cpu')
    return dict(
        model=model or torch.nn.Linear(1, 1),
        optim_wrapper=SimpleNamespace(loss_scaler=scaler),
        logger=_Lines(),
    )


def test_a_step_that_the_gradient_scaler_leaves_out_is_a_warning() -> None:
    parts = mixed_precision()
    losses = [1.0, 1.0, math.inf, 1.0, math.nan, 1.0]
    hub, _ = run(build('LossRecordHook'), 'amp', losses, 3, 100, **parts)
    assert parts['logger'].lines == [
        'loss_bbox is inf at iteration 3, on 2a.jpg, 2b.jpg: the gradient scaler left '
        'this step out, and training goes on',
        'loss_bbox is nan at iteration 5, on 4a.jpg, 4b.jpg: the gradient scaler left '
        'this step out, and training goes on (2 so far)',
    ]
    assert len(hub.get_scalar('train/loss').data[0]) == 6


def test_many_left_out_steps_in_a_row_are_a_divergence() -> None:
    hook = build('LossRecordHook')
    with pytest.raises(UserError, match=r'iteration 11, on .* \(10 in a row\): the tr'):
        run(hook, 'row', [1.0] + [math.inf] * 14, 4, 100, **mixed_precision())


def test_weights_that_are_not_finite_are_a_divergence_whatever_the_scaler() -> None:
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.bias, math.nan)
    with pytest.raises(UserError, match=r'at iteration 2, on .* has diverged'):
        run(
            build('LossRecordHook'),
            'weights',
            [1.0, math.nan],
            2,
            100,
            **mixed_precision(model),
        )
