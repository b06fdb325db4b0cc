"""A run does not write over what it finds in its work folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

import mmfrcnn  # noqa: F401
from mmfrcnn.cli.work_dir import check_checkpoints, check_config_copy
from mmfrcnn.errors import UserError


@pytest.mark.parametrize(
    'name', ['epoch_1.pth', 'iter_20.pth', 'best_coco_bbox_mAP_epoch_3.pth']
)
def test_checkpoints_of_another_run_are_refused_by_name(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b'weights')
    config = Config(dict(work_dir=str(tmp_path), load_from='elsewhere/epoch_9.pth'))
    for resume in (False, True):  # a run resumed from elsewhere writes here, too
        config.resume = resume
        with pytest.raises(UserError) as caught:
            check_checkpoints(config)
        assert f'{tmp_path} holds the checkpoints of another run ({name})' in str(
            caught.value
        )
        assert '--resume' in str(caught.value) and '--work-dir' in str(caught.value)
    config.load_from = str(tmp_path / name)
    check_checkpoints(config)  # the run goes on
    assert (tmp_path / name).read_bytes() == b'weights'


def test_other_files_are_no_hindrance(tmp_path: Path) -> None:
    config = Config(dict(work_dir=str(tmp_path / 'run')))
    check_checkpoints(config)  # there is no such folder yet
    (tmp_path / 'run/20250101_000000').mkdir(parents=True)  # a crash before the first
    for name in ('pretrained.pth', 'config.py', 'notes.txt'):
        (tmp_path / 'run' / name).touch()
    check_checkpoints(config)


def test_the_config_itself_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / 'mine.py'
    path.write_text('a = 1  # a comment that a copy would lose\n')
    config = Config.fromfile(path)
    config.work_dir = str(tmp_path)
    with pytest.raises(UserError, match=r'mine\.py lies in the work folder'):
        check_config_copy(config)
    config.work_dir = str(tmp_path / 'run')
    check_config_copy(config)
