"""Checkpoints outlive what a disk and a process do to them."""

from __future__ import annotations

import json
import random
import resource
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner.checkpoint import CheckpointLoader, save_checkpoint

from mmfrcnn.compat.checkpoint_file import damage_of
from mmfrcnn.compat.checkpoint_saving import _removing_later, _save
from mmfrcnn.errors import UserError
from mmfrcnn.files import written_whole
from mmfrcnn.weights.checkpoints import read_checkpoint
from tests.end_to_end.tiny import make_config, run_here


def load(path: Path) -> dict:
    return CheckpointLoader.load_checkpoint(str(path), 'cpu', logger='silent')


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse what makes a file larger, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_checkpoint_before_and_the_run_goes_on(tmp_path, capsys):
    config, work = make_config(tmp_path), tmp_path / 'run'
    keep = 'default_hooks.checkpoint.max_keep_ckpts=1'

    def train(folder: Path, epochs: int, *more: str) -> int:
        length = f'train_cfg.max_epochs={epochs}'
        options = ('--cfg-options', length, keep)
        return run_here('train', config, '--work-dir', folder, *more, *options)

    assert train(work, 1) == 0
    first = work / 'epoch_1.pth'
    size = first.stat().st_size
    capsys.readouterr()
    with files_of_at_most(size - 1000):
        assert train(work, 2, '--resume') == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if 'error:' in x]
    assert str(work / 'epoch_2.pth') in line and 'File too large' in line
    assert [one.name for one in work.glob('*.pth')] == ['epoch_1.pth']
    assert not list(work.glob('.*unfinished')) and damage_of(first) == ''

    assert train(work, 2, '--resume') == 0
    assert [one.name for one in work.glob('*.pth')] == ['epoch_2.pth']
    assert (work / 'last_checkpoint').read_text() == str(work / 'epoch_2.pth')
    whole = tmp_path / 'whole'
    assert train(whole, 2) == 0
    ours, theirs = (load(one / 'epoch_2.pth')['state_dict'] for one in (work, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    # With nothing whole there is nothing to go on from, and nothing is begun anew.
    (work / 'epoch_2.pth').write_bytes((work / 'epoch_2.pth').read_bytes()[:-9])
    capsys.readouterr()
    assert train(work, 3, '--resume') == 2
    assert f'no checkpoint in {work} is whole' in capsys.readouterr().err
    assert [one.name for one in work.glob('*.pth')] == ['epoch_2.pth']


def test_flipped_bits_are_refused_or_change_nothing(tmp_path):
    draws = torch.Generator().manual_seed(0)
    weights = {f'{i}.weight': torch.randn(7, i, generator=draws) for i in range(1, 9)}
    content = {'meta': {'epoch': 1, 'classes': ['a', 'b']}, 'state_dict': weights}
    file, changed = tmp_path / 'whole.pth', tmp_path / 'changed.pth'
    save_checkpoint(content, str(file))
    data, chance = file.read_bytes(), random.Random(0)
    refused = 0
    for place in chance.sample(range(len(data)), 600):
        flipped = bytearray(data)
        flipped[place] ^= 1 << chance.randrange(8)
        changed.write_bytes(flipped)
        try:
            found = load(changed)
        except UserError as error:
            assert str(changed) in str(error)
            refused += 1
            continue
        assert found['meta'] == content['meta']
        assert found['state_dict'].keys() == weights.keys()
        assert all(torch.equal(found['state_dict'][k], weights[k]) for k in weights)
    assert 200 < refused < 600


def test_damage_is_looked_for_once_and_said_in_one_line(tmp_path, monkeypatch):
    file, looked = tmp_path / 'weights.pth', []
    save_checkpoint({'state_dict': {'weight': torch.ones(50)}}, str(file))
    testzip = zipfile.ZipFile.testzip

    def counted(archive):
        looked.append(archive.filename)
        return testzip(archive)

    monkeypatch.setattr(zipfile.ZipFile, 'testzip', counted)
    assert read_checkpoint(str(file))['state_dict']['weight'].sum() == 50
    assert looked == [str(file)]

    data = file.read_bytes()
    place = data.index(torch.ones(50).numpy().tobytes()) + 100
    file.write_bytes(data[:place] + b'\1' + data[place + 1 :])
    with pytest.raises(UserError) as refused:
        read_checkpoint(str(file))
    assert looked == [str(file)] * 2
    assert str(refused.value) == (
        f'{file} ({len(data)} bytes) is not a complete checkpoint: archive/data/0 in '
        'it was changed since it was written. Use another'
    )


@pytest.mark.parametrize('trouble', [OSError(28, 'No space left'), KeyboardInterrupt()])
def test_what_ends_the_writing_leaves_the_file_as_it_was(tmp_path, trouble):
    file = tmp_path / 'new folder' / 'a.json'
    with written_whole(file) as stream:
        stream.write(b'first')
    with pytest.raises(type(trouble)), written_whole(file) as stream:
        stream.write(b'second')
        raise trouble
    assert file.read_bytes() == b'first'
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r'a\.pth cannot be written: '):
        save_checkpoint({'state_dict': {}}, str(tmp_path / 'file' / 'a.pth'))


@pytest.mark.parametrize(
    'given', [('s3://a/b.pth',), ('b.pth', None, dict(backend='petrel'))]
)
def test_addresses_are_left_to_mmengine(given):
    calls = []
    _save(lambda *args: calls.append(args[1:]), {}, *given)
    assert calls == [(*given, None, None)[:3]]


class Runner:
    """Notes what its hooks are called for."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def call_hook(self, name: str) -> None:
        self.called.append(name)


class Hook:
    """What mmengine's hook has, and saves either a file's successor or itself anew."""

    out_dir = 'work'

    def __init__(self) -> None:
        self.file_backend = LocalBackend()

    def save(self, runner: Runner, old: Path, new: Path, fails: bool = False) -> None:
        assert runner.called == ['before_saving']
        self.file_backend.remove(str(old))
        assert old.exists() and self.file_backend.isfile(str(old))
        if fails:
            raise UserError('no')
        with written_whole(new) as stream:
            stream.write(b'new')

    def save_both(self, runner: Runner, old: Path, new: Path) -> None:
        self.patient_save(Runner(), old, new)
        assert old.exists()

    patient_save = _removing_later(save)
    patient_save_both = _removing_later(save_both)


def test_what_is_replaced_goes_when_the_new_one_is_there(tmp_path):
    hook, old, new = Hook(), tmp_path / 'old', tmp_path / 'new'
    old.touch()
    with pytest.raises(UserError):
        hook.patient_save(Runner(), old, new, fails=True)
    assert old.exists() and type(hook.file_backend) is LocalBackend
    hook.patient_save_both(Runner(), old, new)
    assert not old.exists() and new.exists()
    # The best of an epoch may be saved under the name that it has already.
    hook.patient_save(Runner(), new, new)
    assert new.read_bytes() == b'new'
    assert json.dumps([one.name for one in tmp_path.iterdir()]) == '["new"]'


def test_mmengines_hook_removes_later():
    for name in ('_save_checkpoint_with_step', '_save_best_checkpoint'):
        assert hasattr(getattr(CheckpointHook, name), '__wrapped__')
