"""``--on-nan``: what becomes of a training whose loss is no longer finite."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfrcnn.cli.checking.work_dir import checkpoint_template
from mmfrcnn.cli.rates import scale_checkpoint, scale_config
from mmfrcnn.cli.runtime import print_once
from mmfrcnn.errors import UserError
from mmfrcnn.training.loss_record import DivergedError
from mmfrcnn.weights.checkpoints import find_last_checkpoint

Result = TypeVar('Result')

MOST = 3
"""So often is the rate halved: an eighth of it diverges for another reason."""


class Rollback:
    """Goes back to the last checkpoint of a run, at half the learning rate.

    Args:
        config (Config): Of the run; changed in place, to skip bad steps too.
        on_nan (str): ``stop``, ``skip`` (leave out the step) or ``rollback``.

    Raises:
        UserError: If a rate is to be halved, and the config has no one rate.
    """

    def __init__(self, config: Config, on_nan: str) -> None:
        self._config = config
        self._most = MOST if on_nan == 'rollback' else 0
        self._last = _version(config.get('load_from'))
        self._share = 1.0
        if on_nan == 'rollback':
            _check_rate(config)
        if on_nan != 'stop':
            hooks = config.setdefault('default_hooks', ConfigDict())
            skip = on_nan == 'skip'
            hooks.runtime_info = ConfigDict(type='LossRecordHook', skip=skip)

    def while_it_diverges(self, train: Callable[[], Result]) -> Result:
        """Train; where it diverges, go back and train on, at most so often.

        Args:
            train (Callable): Trains by the config, and returns what it made.

        Raises:
            DivergedError: When it has diverged once more.
        """
        for time in range(1, self._most + 1):
            try:
                return train()
            except DivergedError as error:
                reason = str(error)
            # Out of the handler: the exception held what fills the memory.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            # Which images and boxes, only the process that was given them can say.
            print(reason, flush=True)
            print_once(f'{self._go_back()} ({time} of {MOST} times).')
        return train()

    def hook(self) -> Hook:
        """Return what scales the rates of the checkpoint that training goes on from."""
        return _ScaledRates(self._share)

    def _go_back(self) -> str:
        """Set the config to go on from the last checkpoint; say what is done."""
        found, _ = find_last_checkpoint(
            self._config.work_dir, checkpoint_template(self._config)
        )
        # All processes take what the first one sees.
        seen: list[Any] = [found, _version(found)]
        broadcast_object_list(seen)
        found, version = seen
        if found is None and not self._config.get('resume'):
            scale_config(self._config, 0.5)
            return 'Begun anew, as there is no checkpoint, with half the learning rate'
        if found is None:
            found, version = self._config.load_from, self._last
        # A checkpoint written since the last time has the rates of then.
        self._share = self._share / 2 if version == self._last else 0.5
        self._last = version
        self._config.resume, self._config.load_from = True, found
        return f'Going back to {found}, with half the learning rate'


class _ScaledRates(Hook):
    """Scales the rates of a checkpoint before they are loaded."""

    def __init__(self, share: float) -> None:
        self.share = share

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Scale them, where training goes on from it."""
        if runner._resume:
            scale_checkpoint(checkpoint, self.share)


def _version(path: str | None) -> tuple[str, int] | None:
    """Tell a file from another that has its name later; an address is one for ever."""
    if path is None:
        return None
    return path, os.stat(path).st_mtime_ns if os.path.exists(path) else 0


def _check_rate(config: Config) -> None:
    optimizer = (config.get('optim_wrapper') or {}).get('optimizer') or {}
    if not isinstance(optimizer.get('lr'), int | float):
        raise UserError(
            '--on-nan rollback halves optim_wrapper.optimizer.lr, and the config has '
            'none. Use --on-nan stop'
        )
