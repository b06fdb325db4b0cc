"""A run writes over nothing in its work folder: its own config, other checkpoints."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmfrcnn.errors import UserError
from mmfrcnn.weights.checkpoints import find_last_checkpoint


def check_config_copy(config: Config) -> None:
    """Refuse a work folder in which the copy of the config would replace its original.

    Raises:
        UserError: If the config file lies in the work folder itself.
    """
    original = Path(config.filename or '')
    copy = Path(config.work_dir) / original.name
    if original.is_file() and copy.is_file() and copy.samefile(original):
        raise UserError(
            f'{original} lies in the work folder {config.work_dir}, where a run writes '
            'its merged config under the same name. Name another folder with --work-dir'
        )


def checkpoint_template(config: Config) -> str | None:
    """Return the names of checkpoints that a config asks for, None for the usual."""
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    return hook.get('filename_tmpl')


def check_unused(config: Config) -> None:
    """Check that a run which starts anew overwrites no other run's checkpoints.

    Raises:
        UserError: If the work folder holds any that are complete.
    """
    work_dir = config.work_dir
    last, _ = find_last_checkpoint(work_dir, checkpoint_template(config))
    resume = '--resume'
    if last is None:
        last = next(map(str, Path(work_dir).glob('best_*')), None)
        resume = f'--resume {last}'  # which, without a path, passes over the best ones
    if last is not None:
        raise UserError(
            f'{work_dir} holds checkpoints of another run, such as {last}, which this '
            'one would overwrite or delete. Choose another --work-dir, or continue '
            f'that run with {resume}'
        )
