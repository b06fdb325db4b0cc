"""A config that needs workers or packages that aren't there is told so in one line."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from torch.utils.data import DataLoader

from mmfrcnn.cli.checking import needs
from mmfrcnn.cli.checking.needs import check_needs
from mmfrcnn.errors import UserError


@pytest.mark.parametrize(
    'settings, cure',
    [
        (dict(num_workers=0, persistent_workers=True), 'persistent_workers=False'),
        (dict(num_workers=0, prefetch_factor=4), 'prefetch_factor=None'),
        (dict(persistent_workers=True), 'persistent_workers=False'),
        (dict(num_workers=-1), 'num_workers'),
        (dict(num_workers='two'), 'num_workers'),
    ],
)
def test_what_torch_would_refuse_is_refused_with_the_key(
    settings: dict, cure: str
) -> None:
    with pytest.raises((ValueError, TypeError)):
        DataLoader([1], **settings)
    config = Config(dict(val_dataloader=settings))
    with pytest.raises(UserError, match=f'val_dataloader.{cure}'):
        check_needs(config, 'train_dataloader', 'val_dataloader')
    check_needs(config, 'test_dataloader')  # not of this run


@pytest.mark.parametrize(
    'settings',
    [
        dict(num_workers=0, persistent_workers=False, prefetch_factor=None),
        dict(num_workers=2, persistent_workers=True, prefetch_factor=4),
        dict(),
    ],
)
def test_what_torch_takes_is_taken(settings: dict) -> None:
    DataLoader([1], **settings)
    check_needs(Config(dict(train_dataloader=settings)), 'train_dataloader')


def test_a_backend_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ['LocalVisBackend', 'mmengine.WandbVisBackend']
    backends = [dict(type=kind) for kind in kinds]
    config = Config(dict(visualizer=dict(vis_backends=backends)))
    monkeypatch.setattr(needs, 'find_spec', lambda name: None)
    with pytest.raises(
        UserError, match=r'vis_backends\.1: WandbVis.*pip install wandb'
    ):
        check_needs(config)
    monkeypatch.setattr(needs, 'find_spec', lambda name: name)
    check_needs(config)
