"""A run's folder in place of config and checkpoint, in test and predict."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import pytest

from mmfrcnn.cli.run_folder import name_files
from mmfrcnn.errors import UserError
from tests.deploy.run import make_run
from tests.end_to_end.tiny import run_here


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path)
    shutil.copy(tmp_path / 'tiny.py', run)
    return run


def named(config, checkpoint=None) -> tuple[str, str | None]:
    args = Namespace(config=str(config), checkpoint=checkpoint)
    name_files(args)
    return args.config, args.checkpoint


def test_a_folder_is_its_config_and_its_checkpoint(run, capsys):
    assert named(run) == (str(run / 'tiny.py'), str(run / 'epoch_1.pth'))
    assert 'tiny.py with' in capsys.readouterr().out
    shutil.copy(run / 'epoch_1.pth', run / 'best_epoch_1.pth')
    assert named(run)[1] == str(run / 'best_epoch_1.pth')
    assert named(run, 'other.pth') == (str(run / 'tiny.py'), 'other.pth')
    assert named('a.py', 'b.pth') == ('a.py', 'b.pth')


def test_what_is_missing_is_said(run, tmp_path):
    with pytest.raises(UserError, match=r'a\.py is given without a checkpoint'):
        named('a.py')
    shutil.copy(run / 'tiny.py', run / 'second.py')
    with pytest.raises(UserError, match=r'here is second\.py; tiny\.py\. Name'):
        named(run)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='here is none'):
        named(tmp_path / 'empty')


def test_test_and_predict_with_a_folder(run, tmp_path):
    out = tmp_path / 'found.json'
    # As a run writes its config: with its own folder, where a test must write none.
    config = run / 'tiny.py'
    config.write_text(f'{config.read_text()}\nwork_dir = {str(run)!r}\n')
    before = config.read_text()
    assert run_here('test', run, '--out', out, '--device', 'cpu') == 0
    assert json.loads(out.read_text())
    assert config.read_text() == before
    assert len(list((run / 'test').glob('*/ledger.json'))) == 1
    assert named(run)[0] == str(config)  # and may be named again
    options = ['--work-dir', tmp_path / 'tested', '--device', 'cpu']
    assert run_here('test', run, *options) == 0
    assert list((tmp_path / 'tested').glob('*/ledger.json'))
    arguments = [tmp_path / 'images', run, '--out-dir', tmp_path / 'out']
    assert run_here('predict', *arguments, '--num-workers', 0) == 0
    assert json.loads((tmp_path / 'out/predictions.json').read_text())['images']
