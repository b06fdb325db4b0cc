"""Other processes than a checkpoint's, and trainings that are the same each time."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config

from mmfrcnn.cli.sameness import (
    SHARED,
    keep_images,
    make_deterministic,
    note_images,
)
from mmfrcnn.errors import UserError


def make(batch_size: int = 2, launcher: str = 'pytorch') -> Config:
    loader = dict(batch_size=batch_size)
    return Config(dict(train_dataloader=loader, launcher=launcher, load_from='a.pth'))


def checkpoint(shared: Any) -> dict[str, Any]:
    return {'message_hub': {'runtime_info': {SHARED: shared}}}


def shared(processes: Any, each: Any, configured: Any = 2) -> dict[str, Any]:
    return {'processes': processes, 'each': each, 'configured': configured}


@pytest.mark.parametrize(
    ('before', 'now', 'images'),
    [
        *((shared(4, 2), 2, 4), (shared(2, 2), 4, 1), (shared(4, 2), 1, 8)),
        # And back, and to a third number.
        *((shared(2, 4), 4, 2), (shared(2, 6), 3, 4), (shared(2, 2), 2, 2)),
    ],
)
def test_images_an_iteration_stay_as_many(monkeypatch, before, now, images) -> None:
    monkeypatch.setenv('WORLD_SIZE', str(now))
    config = make()
    keep_images(config, checkpoint(before))
    assert config.train_dataloader.batch_size == images
    assert now * images == before['processes'] * before['each']


def test_what_cannot_be_shared_is_refused(monkeypatch) -> None:
    monkeypatch.setenv('WORLD_SIZE', '3')
    with pytest.raises(UserError, match=r'a\.pth .*4 images .*3 processes cannot'):
        keep_images(make(), checkpoint(shared(2, 2)))


@pytest.mark.parametrize(
    'stored',
    [
        *(None, 2, [2, 2], {'processes': 2}, shared(2, 0), shared(-2, 2)),
        *(shared(2, '2'), shared(2, 2.0)),
        # The batch size that is asked for now is another one: nothing is guessed.
        shared(2, 16, 16),
    ],
)
def test_what_is_not_known_changes_nothing(monkeypatch, stored: Any) -> None:
    monkeypatch.setenv('WORLD_SIZE', '8')
    config = make()
    keep_images(config, checkpoint(stored))
    keep_images(config, {'message_hub': None})
    assert config.train_dataloader.batch_size == 2


def test_one_process_is_one_whatever_the_environment_says(monkeypatch) -> None:
    monkeypatch.setenv('WORLD_SIZE', '8')
    config = make(launcher='none')
    keep_images(config, checkpoint(shared(2, 2)))
    assert config.train_dataloader.batch_size == 4


@pytest.mark.parametrize(
    ('before', 'configured'), [(None, 6), (shared(4, 3, 3), 3), (shared(4, 2, 2), 6)]
)
def test_what_was_configured_is_handed_on(before: Any, configured: int) -> None:
    """Where there are as many images an iteration as before."""
    info = {} if before is None else {SHARED: before}
    runner = SimpleNamespace(
        train_dataloader=SimpleNamespace(batch_size=6),
        world_size=2,
        message_hub=SimpleNamespace(runtime_info=info, update_info=info.__setitem__),
    )
    note_images(runner)
    assert info[SHARED] == shared(2, 6, configured)


@pytest.mark.parametrize(('given', 'seed'), [({}, 0), ({'randomness': {'seed': 7}}, 7)])
def test_deterministic_settings(monkeypatch, given, seed) -> None:
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    config = Config({**given, 'env_cfg': {'cudnn_benchmark': True}})
    make_deterministic(config)
    assert config.randomness == {'seed': seed, 'deterministic': True}
    assert config.env_cfg.cudnn_benchmark is False
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG')
