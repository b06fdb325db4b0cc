"""Training from a Python program: what ``mmfrcnn train`` does, and what came of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmfrcnn.cli.config import top_level_keys
from mmfrcnn.cli.train import train_from


@dataclass(frozen=True)
class Run:
    """A training that has ended.

    Attributes:
        work_dir: Its folder, which `Detector` takes.
        metrics: Of the last evaluation, by name.
        iterations: That were trained.
    """

    work_dir: Path
    metrics: dict[str, float] = field(default_factory=dict)
    iterations: int = 0


def train(
    config: str | Path,
    *,
    work_dir: str | Path | None = None,
    resume: bool | str | Path = False,
    amp: str | None = None,
    deterministic: bool = False,
    device: str | None = None,
    log: Sequence[str] = (),
    verbose: bool = False,
    **overrides: Any,
) -> Run:
    """Train a detector, as ``mmfrcnn train`` does.

    Args:
        config (str | Path): A config file, or ``mmfrcnn::NAME`` of one of ours.
        work_dir (str | Path | None): Folder for logs and checkpoints; None: that of the
            config, or ``work_dirs/CONFIG_NAME``.
        resume (bool | str | Path): Whether to go on with the last checkpoint of the
            folder, or with the one of a path.
        amp (str | None): ``bf16``, ``fp16`` or ``auto``: mixed precision.
        deterministic (bool): Whether the same call gives the same weights, to the bit.
        device (str | None): ``cpu``, ``cuda`` or ``cuda:N``; None: a GPU if there is
            one.
        log (Sequence[str]): ``tensorboard``, ``wandb``, ``mlflow``.
        verbose (bool): Whether to print mmengine's whole log.
        overrides (Any): Values of the config's variables and settings by name, dicts
            for what is inside: ``max_epochs=20, train_dataloader=dict(batch_size=8)``.

    Returns:
        Run: What came of it.

    Raises:
        UserError: As the command line says.

    Example:
        >>> run = mmfrcnn.train('pets.py', max_epochs=20)  # doctest: +SKIP
        >>> mmfrcnn.Detector(run.work_dir)('photo.jpg')  # doctest: +SKIP
    """
    chosen = 'auto' if resume is True else str(resume) if resume else None
    runner = train_from(
        argparse.Namespace(
            config=str(config),
            work_dir=str(work_dir) if work_dir else None,
            resume=chosen,
            amp=amp,
            deterministic=deterministic,
            device=device,
            log=list(log),
            verbose=verbose,
            cfg_options=_dotted(overrides),
            auto_scale_lr=False,
            compile=False,
            cuda_graphs=False,
            profile=False,
            on_nan='stop',
            launcher='none',
            local_rank=0,
        )
    )
    history = runner.message_hub.log_scalars
    metrics = {
        name.removeprefix('val/'): float(values.current())
        for name, values in history.items()
        if name.startswith('val/') and not name.endswith('time')
    }
    return Run(Path(runner.work_dir), metrics, runner.iter)


def _dotted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Name what is inside a setting by dotted keys; a variable is replaced whole."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in top_level_keys():
            found.update(_inside(value, name))
        else:
            found[name] = value
    return found


def _inside(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found.update(_inside(inner, f'{path}.{key}'))
    return found
