"""What the tools refuse: one line, exit code 2, nothing executed, nothing prepared."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from tests.tools import REPO, free_port, run_forked, run_tool

from .tiny import assert_user_error, make_config


class Payload:
    """Unpickles by calling a function."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize('tool', ['test.py', 'predict.py', 'train.py'])
def test_a_malicious_checkpoint_is_refused_before_the_data(
    tmp_path: Path, tool: str
) -> None:
    config = make_config(tmp_path)
    mark, path = tmp_path / 'executed', tmp_path / 'malicious.pth'
    torch.save({'state_dict': Payload(os.system, f'touch {mark}')}, path)
    args = [config, path]
    if tool == 'predict.py':
        args = [tmp_path / 'data/images', *args, '--out-dir', tmp_path / 'out']
    else:
        (tmp_path / 'data/train.json').unlink()  # the checkpoint comes first
        args += ['--work-dir', tmp_path / 'run']
    if tool == 'train.py':
        args.remove(path)
        args += ['--resume', path]
    assert_user_error(run_tool(tool, *args), str(path), 'asks for', 'system')
    assert not mark.exists()
    assert not (tmp_path / 'out').exists()


def test_a_training_that_diverges_ends_there(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    options = ['--cfg-options', 'optim_wrapper.optimizer.lr=1e12']
    result = run_tool('train.py', config, '--work-dir', tmp_path / 'run', *options)
    assert_user_error(result, 'nan at iteration', 'clip_grad')


def test_processes_say_once_what_is_wrong_and_what_one_alone_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other, the main process, works on until torchrun ends it.

    Started as dist_train.sh says, but for the tool.
    """
    with monkeypatch.context() as patch:
        patch.setenv('PORT', str(free_port()))
        patch.setattr(sys, 'executable', 'echo')  # PYTHON of the script
        words = run_tool('dist_train.sh', 'a.py', 2).stdout.split()
    assert words[-4:] == [str(REPO / 'tools/train.py'), 'a.py', '--launcher', 'pytorch']
    tool = tmp_path / 'tool.py'
    tool.write_text(
        'import os, sys, time, types\n'
        'import mmfrcnn.cli\n'
        'from mmfrcnn.errors import UserError\n'
        'def run(args):\n'
        '    if args == "both":\n'
        '        raise UserError("of both")\n'
        '    if os.environ["RANK"] == "1":\n'
        '        raise UserError("of rank 1")\n'
        '    time.sleep(100)\n'
        'sys.modules["mmfrcnn.cli.made_up"] = types.SimpleNamespace(run=run)\n'
        'mmfrcnn.cli.run_command("made_up", "both")\n'
        'sys.exit(mmfrcnn.cli.run_command("made_up", "one"))\n'
    )
    result = run_forked([*words[:-4], str(tool)], tmp_path)
    assert result.returncode == 2, result.stderr
    said = [line for line in result.stderr.splitlines() if line.startswith('error: ')]
    assert said == ['error: of both', 'error: of rank 1']
    assert 'Traceback' not in result.stdout + result.stderr


@pytest.mark.parametrize('what', ['no images', 'no objects, and empty ones left out'])
def test_a_training_set_without_images_is_one_line(tmp_path: Path, what: str) -> None:
    config = make_config(tmp_path)
    path = tmp_path / 'data/train.json'
    content = json.loads(path.read_text())
    content['annotations'] = []
    if what == 'no images':
        content['images'] = []
    (tmp_path / 'data/none.json').write_text(json.dumps(content))
    options = [
        'train_dataloader.dataset.ann_file=none.json',
        'train_dataloader.dataset.filter_cfg.filter_empty_gt=True',
    ]
    work = ['--work-dir', tmp_path / 'run']
    result = run_tool('train.py', config, *work, '--cfg-options', *options)
    assert_user_error(result, 'train_dataloader.dataset', 'has no image')
