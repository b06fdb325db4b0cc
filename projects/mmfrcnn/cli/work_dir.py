"""A run does not write over its own config."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmfrcnn.errors import UserError


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
