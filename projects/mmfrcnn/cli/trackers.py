"""``tools/train.py --log``: TensorBoard, Weights & Biases, MLflow.

mmengine has a backend for each: here they are added to the visualizer of a config.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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


def _mlflow(config: Config) -> dict[str, Any]:
    """Return settings under which runs go where MLflow itself would put them.

    mmengine would put them into the folder of each log, in a way (files) that MLflow
    has left behind. Here ``mlflow ui``, started in the same folder, shows them.
    """
    from mlflow import get_tracking_uri  # type: ignore[import-not-found]

    return {
        'tracking_uri': get_tracking_uri(),
        'exp_name': os.environ.get('MLFLOW_EXPERIMENT_NAME'),
        'run_name': Path(config.work_dir).absolute().name,
        'artifact_suffix': ('.csv', '.json', '.log', '.py'),
    }
