"""A run does not write over what it finds in its work folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

import mmfrcnn  # noqa: F401
from mmfrcnn.cli.checking.work_dir import check_config_copy
from mmfrcnn.errors import UserError


def test_the_config_itself_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / 'mine.py'
    path.write_text('a = 1  # a comment that a copy would lose\n')
    config = Config.fromfile(path)
    config.work_dir = str(tmp_path)
    with pytest.raises(UserError, match=r'mine\.py lies in the work folder'):
        check_config_copy(config)
    config.work_dir = str(tmp_path / 'run')
    check_config_copy(config)
