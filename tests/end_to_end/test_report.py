"""The report of a run, from its folder or its files, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.fates import FATES
from tests.end_to_end.tiny import make_config, run_here


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, ``tiny.py`` and a run of one epoch in ``run``."""
    folder = tmp_path_factory.mktemp('report')
    config = make_config(folder)
    assert run_here('train', config, '--work-dir', folder / 'run', *epochs()) == 0
    return folder


def epochs() -> list[str]:
    return ['--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run's folder."""
    return Path(shutil.copytree(trained / 'run', tmp_path / 'run'))


def test_a_run_is_reported_compared_and_reported_again(run, tmp_path, capsys):
    assert run_here('report', run) == 0
    printed = capsys.readouterr().out
    assert f'Report: {run / "report.html"} and' in printed
    record = json.loads((run / 'report.json').read_text())
    objects = record['ledger']['objects']
    assert sum(objects[fate] for fate in FATES) == objects['total'] == 14
    assert record['training_ledger']['images'] == record['figures']['images'] == 8
    rules = [one['rule'] for one in record['advice']]
    assert len(set(rules)) == len(rules)
    assert all(one['text'] in printed for one in record['advice'])
    columns = Columns.read(run / 'report/ledger.npz')
    assert len(columns.object_label) == objects['total']
    errors = json.loads((run / 'report/label_errors.json').read_text())
    assert len(errors['annotations']) == record['label_errors']['count']
    assert not any('likely wrong' in one for one in record['sentences'])
    assert 'losses in training' in (run / 'report.html').read_text()
    assert str(run) in record['command']

    # Its own files are written over; by the two files, elsewhere, it says the same.
    config, checkpoint = run / 'tiny.py', run / 'epoch_1.pth'
    other = tmp_path / 'other'
    assert run_here('report', run, '--against', run, '--images', 3) == 0
    again = json.loads((run / 'report.json').read_text())
    assert again['comparison']['AP']['difference'] == 0
    assert again['training_ledger']['images'] == 3
    assert again['ledger'] == record['ledger']
    assert run_here('report', config, checkpoint, '--work-dir', other) == 0
    third = json.loads((other / 'report.json').read_text())
    assert third['figures'] == record['figures']


def refused(capsys, *args: object) -> str:
    """Return the one line that refuses a command."""
    assert run_here('report', *args) == 2
    (line,) = [
        one for one in capsys.readouterr().err.splitlines() if one.startswith('error:')
    ]
    return line


def test_what_is_missing_is_said_in_a_line(run, tmp_path, capsys):
    bare = tmp_path / 'bare'
    bare.mkdir()
    shutil.copy(run / 'tiny.py', bare)
    assert 'Name a checkpoint file' in refused(capsys, bare)
    options = ('--cfg-options', 'val_dataloader=None', 'test_dataloader=None')
    assert 'no val_dataloader' in refused(capsys, run, *options)
    ledger = bare / 'report/ledger.npz'
    assert f'there is no {ledger}' in refused(capsys, run, '--against', bare)
    assert '--images must be' in refused(capsys, run, '--images', 0)

    (run / 'report.json').write_text('{"my": "own"}')
    assert 'report.json is there' in refused(capsys, run)
    assert (run / 'report.json').read_text() == '{"my": "own"}'


def data_of(trained: Path, folder: Path, name: str, keep: int, objects: bool) -> str:
    """Write annotations of the first images, each object twice, or without objects."""
    content = json.loads((trained / 'data/train.json').read_text())
    content['images'] = content['images'][:keep]
    ids = {one['id'] for one in content['images']}
    content['annotations'] = [
        one for one in content['annotations'] if objects and one['image_id'] in ids
    ]
    twice = [{**one, 'id': 1000 + one['id']} for one in content['annotations']]
    content['annotations'] += twice
    (folder / name).write_text(json.dumps(content))
    return str(folder / name)


def test_one_image_and_none_with_an_object(trained, run, tmp_path, capsys):
    for name, keep, objects in (('one.json', 1, True), ('empty.json', 8, False)):
        file = data_of(trained, tmp_path, name, keep, objects)
        options = (
            '--cfg-options',
            f'val_dataloader.dataset.ann_file={file}',
            f'val_evaluator.ann_file={file}',
        )
        if objects:
            assert run_here('report', run, *options) == 0
            record = json.loads((run / 'report.json').read_text())
            assert record['figures']['images'] == 1
            errors = record['label_errors']['first']
            likely = [one['kind'] for one in errors if one['certainty'] >= 0.5]
            assert likely == ['duplicate'] * 2
            assert record['sentences'][1].startswith('2 labels are likely wrong')
        else:
            assert 'none of the 8 images to evaluate has an object' in refused(
                capsys, run, *options
            )
