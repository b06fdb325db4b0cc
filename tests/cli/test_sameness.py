"""Other processes than a checkpoint's, and trainings that are the same each time."""

from __future__ import annotations

import os
from typing import Any

import pytest
from mmengine.config import Config

from mmfrcnn.cli.sameness import SHARED, keep_images, make_deterministic
from mmfrcnn.errors import UserError


def make(batch_size: int = 2, launcher: str = 'pytorch') -> Config:
    loader = dict(batch_size=batch_size)
    return Config(dict(train_dataloader=loader, launcher=launcher, load_from='a.pth'))


def checkpoint(shared: Any) -> dict[str, Any]:
    return {'message_hub': {'runtime_info': {SHARED: shared}}}


@pytest.mark.parametrize(
    ('before', 'now', 'images'), [(4, 2, 4), (2, 4, 1), (4, 1, 8), (2, 2, 2)]
)
def test_images_an_iteration_stay_as_many(monkeypatch, before, now, images) -> None:
    monkeypatch.setenv('WORLD_SIZE', str(now))
    config = make()
    keep_images(config, checkpoint({'processes': before, 'each': 2}))
    assert config.train_dataloader.batch_size == images
    assert now * images == before * 2


def test_what_cannot_be_shared_is_refused(monkeypatch) -> None:
    monkeypatch.setenv('WORLD_SIZE', '3')
    with pytest.raises(
        UserError, match=r'a\.pth .*4 images .*3 processes cannot share'
    ):
        keep_images(make(), checkpoint({'processes': 2, 'each': 2}))


@pytest.mark.parametrize(
    'shared',
    [
        *(None, 2, [2, 2], {'processes': 2}, {'processes': 2, 'each': 0}),
        *({'processes': -2, 'each': 2}, {'processes': 2, 'each': '2'}),
        # The batch size that is asked for now is another one: nothing is guessed.
        {'processes': 2, 'each': 16},
    ],
)
def test_what_is_not_known_changes_nothing(monkeypatch, shared: Any) -> None:
    monkeypatch.setenv('WORLD_SIZE', '8')
    config = make()
    keep_images(config, checkpoint(shared))
    keep_images(config, {'message_hub': None})
    assert config.train_dataloader.batch_size == 2


def test_one_process_is_one_whatever_the_environment_says(monkeypatch) -> None:
    monkeypatch.setenv('WORLD_SIZE', '8')
    config = make(launcher='none')
    keep_images(config, checkpoint({'processes': 2, 'each': 2}))
    assert config.train_dataloader.batch_size == 4


@pytest.mark.parametrize(('given', 'seed'), [({}, 0), ({'randomness': {'seed': 7}}, 7)])
def test_deterministic_settings(monkeypatch, given, seed) -> None:
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    config = Config({**given, 'env_cfg': {'cudnn_benchmark': True}})
    make_deterministic(config)
    assert config.randomness == {'seed': seed, 'deterministic': True}
    assert config.env_cfg.cudnn_benchmark is False
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG')
