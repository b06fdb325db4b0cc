"""What a config needs that the Runner would miss with a traceback, minutes later."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from mmengine.config import Config

from mmfrcnn.errors import UserError

PACKAGES = {
    'AimVisBackend': 'aim',
    'ClearMLVisBackend': 'clearml',
    'DVCLiveVisBackend': 'dvclive',
    'MLflowVisBackend': 'mlflow',
    'NeptuneVisBackend': 'neptune',
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
}
"""The package that each of mmengine's visualisation backends imports."""

OF_WORKERS = {'persistent_workers': False, 'prefetch_factor': None, 'timeout': 0}
"""What torch's DataLoader takes only with workers, and what turns it off."""


def check_needs(config: Config, *loaders: str) -> None:
    """Check the visualisation backends of a config and the dataloaders of a run.

    Args:
        config (Config): The config.
        loaders (str): Keys of the dataloaders that the run builds.

    Raises:
        UserError: Naming the key and what to set or to install.
    """
    for name in loaders:
        _check_workers(name, config.get(name) or {})
    backends = (config.get('visualizer') or {}).get('vis_backends') or []
    for index, backend in enumerate(backends):
        _check_backend(f'visualizer.vis_backends.{index}', backend)


def _check_workers(name: str, loader: dict) -> None:
    workers = loader.get('num_workers', 0)
    if not isinstance(workers, int) or workers < 0:
        raise UserError(
            f'{name}.num_workers is {workers!r}; it must be 0 (no process beside this '
            'one loads images) or more'
        )
    idle = [key for key, off in OF_WORKERS.items() if (loader.get(key) or off) != off]
    if workers == 0 and idle:
        given = ', '.join(f'{key}={loader[key]}' for key in idle)
        off = ' '.join(f'{name}.{key}={OF_WORKERS[key]}' for key in idle)
        raise UserError(
            f'{name}: num_workers is 0, and {given} needs workers. '
            f'Add --cfg-options {off}, or set {name}.num_workers'
        )


def _check_backend(key: str, backend: Any) -> None:
    kind = backend.get('type') if isinstance(backend, dict) else backend
    kind = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    name = kind.rpartition('.')[2]
    package = PACKAGES.get(name)
    if package and find_spec(package) is None:
        raise UserError(
            f'{key}: {name} needs {package}, which is not installed. '
            f'pip install {package}, or leave this backend out'
        )
