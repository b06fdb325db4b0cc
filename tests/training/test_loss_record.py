"""The log's numbers are mmengine's, read together; a diverged training ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub

from mmfrcnn.errors import UserError


class _Waits(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts what makes a host wait."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def run(hook, name: str, losses: list[float], interval: int, epoch: int):
    """Call a hook as a training loop does; return its hub and the waits it caused."""
    runner = SimpleNamespace(
        message_hub=MessageHub(name),
        hooks=[LoggerHook(interval=interval)],
        train_dataloader=_Sized(epoch),
        epoch=0,
        iter=0,
        max_epochs=1,
        max_iters=len(losses),
    )
    runner.message_hub.update_scalar('train/lr', 0.25)
    hook.before_train(runner)
    with _Waits() as waits:
        for iteration, loss in enumerate(losses):
            runner.iter = iteration
            outputs = dict(loss=torch.tensor(loss), acc=torch.tensor([50.0]), extra=2)
            hook.after_train_iter(runner, iteration % epoch, None, outputs)
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
    assert stock == 24
    assert ours == 0  # one copy of all: tolist


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), float('-inf')])
def test_a_diverged_training_ends_with_the_iteration_and_what_to_do(bad: float) -> None:
    with pytest.raises(UserError) as caught:
        run(build('LossRecordHook'), f'bad{bad}', [1.0, 1.0, bad, 1.0], 4, 100)
    message = str(caught.value)
    assert f'loss is {bad} at iteration 3' in message
    assert '0.25' in message and 'clip_grad' in message
