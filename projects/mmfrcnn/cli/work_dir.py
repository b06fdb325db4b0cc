"""A work folder keeps what another run, or the user, has put there."""

from __future__ import annotations

import re
from pathlib import Path

from mmengine.config import Config

from mmfrcnn.errors import UserError

CHECKPOINT = re.compile(r'(epoch|iter)_\d+\.pth|best_.*\.pth|last_checkpoint')
"""Names that mmengine gives to the checkpoints of a run, whatever was there."""


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


def check_checkpoints(config: Config) -> None:
    """Refuse a work folder that holds checkpoints of a run which does not go on.

    Raises:
        UserError: If there are any, and none of them is what is resumed from.
    """
    folder = Path(config.work_dir)
    if not folder.is_dir():
        return
    found = sorted(f.name for f in folder.iterdir() if CHECKPOINT.fullmatch(f.name))
    resumed = config.get('load_from') if config.get('resume') else None
    if not found or (resumed and Path(resumed).resolve().parent == folder.resolve()):
        return
    raise UserError(
        f'{folder} holds the checkpoints of another run ({", ".join(found[:3])}'
        f'{", ..." if len(found) > 3 else ""}), which this one would overwrite. Go on '
        'with that run by --resume, or name another folder with --work-dir'
    )
