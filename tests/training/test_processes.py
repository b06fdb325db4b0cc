"""Hooks under several processes, which talk through gloo on this machine."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from mmfrcnn.training.channels_last import ChannelsLastHook
from mmfrcnn.training.loss_record import LossRecordHook
from tests.tools import free_port

# Losses of two iterations, and images in each batch, of processes 0 and 1.
LOSSES = ([1.0, 2.0], [4.0, 5.0])
IMAGES = (2, 1)


@pytest.fixture(scope='module')
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What two processes saw, each."""
    folder = tmp_path_factory.mktemp('processes')
    torch.multiprocessing.start_processes(
        _process, (free_port(), folder), nprocs=2, start_method='forkserver'
    )
    return [torch.load(folder / f'{rank}.pt') for rank in range(2)]


def _process(rank: int, port: int, folder: Path) -> None:
    os.environ.update(LOCAL_RANK=str(rank))
    torch.distributed.init_process_group(
        'gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2
    )
    result = {**_losses(rank), **_gradients()}
    torch.save(result, folder / f'{rank}.pt')
    torch.distributed.destroy_process_group()


def _losses(rank: int) -> dict:
    runner = SimpleNamespace(
        message_hub=MessageHub('processes'),
        hooks=[LoggerHook(interval=2)],
        train_dataloader=DataLoader([0, 1]),
        epoch=0,
        iter=0,
        max_epochs=1,
        max_iters=2,
    )
    hook = LossRecordHook()
    hook.before_train(runner)
    batch = dict(data_samples=[SimpleNamespace(img_path='x')] * IMAGES[rank])
    for iteration, loss in enumerate(LOSSES[rank]):
        runner.iter = iteration
        hook.after_train_iter(runner, iteration, batch, dict(loss=torch.tensor(loss)))
    history, _ = runner.message_hub.get_scalar('train/loss').data
    return dict(losses=history.tolist())


def _gradients() -> dict:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    runner = SimpleNamespace(cfg=dict(model_wrapper_cfg=wrapper), distributed=True)
    runner.model = DistributedDataParallel(model)
    runner.wrap_model = lambda config, inner: Runner.wrap_model(runner, config, inner)
    ChannelsLastHook().before_run(runner)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        runner.model(torch.ones(1, 3, 8, 8)).sum().backward()
    weights = list(model.parameters())
    return dict(
        warned=[str(one.message) for one in caught],
        same=[a is b for a, b in zip(runner.model.parameters(), weights, strict=True)],
        in_order=[
            one.is_contiguous(memory_format=torch.channels_last)
            for weight in weights
            if weight.dim() == 4
            for one in (weight, weight.grad)
        ],
    )


def test_the_log_is_the_mean_over_all_images(seen: list[dict]) -> None:
    # (2 * 1 + 1 * 4) / 3 and (2 * 2 + 1 * 5) / 3.
    assert [one['losses'] for one in seen] == [[2.0, 3.0], [2.0, 3.0]]


def test_gradients_lie_in_memory_as_channels_last_weights_do(seen: list[dict]) -> None:
    for one in seen:
        assert not [line for line in one['warned'] if 'strides' in line]
        assert all(one['same']) and all(one['in_order'])
