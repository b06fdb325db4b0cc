"""A checkpoint that is resumed from deletes no file but its run's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.registry import DATASETS, MODELS
from mmengine.runner.checkpoint import CheckpointLoader

from tests.compat.test_checkpoint import Line, Slope, make_runner


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a run."""
    DATASETS.register_module(module=Line, name='LineOfTest', force=True)
    MODELS.register_module(module=Slope, name='SlopeOfTest', force=True)
    folder = tmp_path_factory.mktemp('trained')
    make_runner(folder, 'first', epochs=1, custom_hooks=[]).train()
    return folder / 'epoch_1.pth'


def naming(trained: Path, folder: Path, **info: Any) -> Path:
    """Write the checkpoint anew with other notes of the run."""
    checkpoint = torch.load(trained)
    checkpoint['message_hub']['runtime_info'].update(info)
    path = folder / 'epoch_1.pth'
    torch.save(checkpoint, path)
    return path


def improve(path: Path, work_dir: Path) -> None:
    """Resume a run, and let it find a better checkpoint."""
    hook = dict(type='CheckpointHook', save_best='loss', rule='less', max_keep_ckpts=2)
    runner = make_runner(
        work_dir,
        'resumed',
        epochs=2,
        load_from=str(path),
        resume=True,
        custom_hooks=[],
        default_hooks=dict(checkpoint=hook),
        experiment_name=str(uuid4()),  # mmengine keeps what it knows by it
    )
    runner.load_or_resume()
    (saver,) = (one for one in runner.hooks if isinstance(one, CheckpointHook))
    saver.before_train(runner)
    saver.after_val_epoch(runner, {'loss': 0.5})
    assert list(work_dir.glob('best_loss_epoch_*.pth'))


@pytest.mark.parametrize('kind', ['file', 'folder', 'best file', 'link', 'beside'])
def test_no_other_file_is_deleted(kind, trained, tmp_path):
    precious = tmp_path / 'home' / 'thesis.txt'
    precious.parent.mkdir()
    precious.write_text('three years')
    best = precious.with_name('best_x.pth')
    best.write_text('of another run')
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'best_link.pth').symlink_to(precious.parent)
    (run / 'notes.txt').write_text('beside the checkpoint')
    named = {
        'file': precious,
        'folder': precious.parent,
        'best file': best,
        'link': run / 'best_link.pth',
        'beside': run / 'notes.txt',
    }[kind]
    improve(naming(trained, run, best_ckpt=str(named)), tmp_path / 'work')
    assert precious.read_text() == 'three years' and best.is_file()
    assert (run / 'notes.txt').is_file() and (run / 'best_link.pth').exists()


def test_checkpoints_are_counted_by_numbers(trained, tmp_path):
    victim = tmp_path / 'work' / 'epoch_' / 'x.pth'
    victim.parent.mkdir(parents=True)
    victim.write_text('')
    for kept in (['/x', 1, 2], '/xy', {'/x': 1}, [1.5, True, 2]):
        improve(naming(trained, tmp_path, keep_ckpt_ids=kept), tmp_path / 'work')
    assert victim.is_file()


def test_the_runs_own_best_one_is_replaced(trained, tmp_path):
    best = tmp_path / 'best_loss_epoch_0.pth'
    best.write_text('')
    path = naming(trained, tmp_path, best_ckpt=str(best), keep_ckpt_ids=[0, 1])
    info = CheckpointLoader.load_checkpoint(str(path))['message_hub']['runtime_info']
    assert info['best_ckpt'] == str(best) and info['keep_ckpt_ids'] == [0, 1]
    improve(path, tmp_path)
    assert not best.exists()
