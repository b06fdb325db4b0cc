"""A small detector, trained once for all ledgers."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

import mmfrcnn  # noqa: F401
from tests.end_to_end.tiny import make_config


@pytest.fixture(scope='package')
def folder(tmp_path_factory):
    """A folder with data, ``tiny.py`` and the weights of a short training."""
    folder = tmp_path_factory.mktemp('ledger')
    config = Config.fromfile(make_config(folder))
    config.work_dir = str(folder / 'run')
    config.train_cfg.max_epochs = 20
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    Runner.from_cfg(config).train()
    return folder
