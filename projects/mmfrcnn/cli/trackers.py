"""``tools/train.py --log``: TensorBoard, Weights & Biases, MLflow.

mmengine has a backend for each: here they are added to the visualizer of a config.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config

from mmfrcnn.errors import UserError

BACKENDS = {
    'mlflow': 'MLflowVisBackend',
    'tensorboard': 'TensorboardVisBackend',
    'wandb': 'WandbVisBackend',
}
"""mmengine's backend by the name of the package it needs."""


def check_trackers(names: Sequence[str]) -> None:
    """Check that the packages of some trackers are installed.

    Raises:
        UserError: With the command that installs the one missing.
    """
    for name in names:
        if find_spec(name) is None:
            raise UserError(
                f'--log {name} needs the package {name}: pip install {name}'
            )


def add_trackers(config: Config, names: Sequence[str]) -> None:
    """Have a run recorded by trackers besides what its config asks for.

    Their axis is the iteration, for metrics as for losses; mmengine counts epochs for
    metrics, of which a loop by iterations has none.

    Args:
        config (Config): Of the run; changed in place.
        names (Sequence[str]): Keys of `BACKENDS`.
    """
    if not names:
        return
    if not config.get('visualizer'):
        config.visualizer = {'type': 'DetLocalVisualizer'}
    backends = config.visualizer.get('vis_backends') or [{'type': 'LocalVisBackend'}]
    known = {backend.get('type') for backend in backends}
    for name in dict.fromkeys(names):
        if BACKENDS[name] not in known:
            settings = _mlflow(config) if name == 'mlflow' else {}
            backends = [*backends, {'type': BACKENDS[name], **settings}]
    config.visualizer.vis_backends = backends
    logger = config.get('default_hooks', {}).get('logger')
    if logger:
        logger.setdefault('log_metric_by_epoch', False)


def _mlflow(config: Config) -> dict[str, str]:
    """Return where MLflow keeps its runs: its server, or a database in the folder."""
    folder = Path(config.work_dir).absolute()
    uri = os.environ.get('MLFLOW_TRACKING_URI', f'sqlite:///{folder}/mlflow.db')
    return {'tracking_uri': uri, 'run_name': folder.name}
