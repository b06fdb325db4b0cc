"""What the console is told: messages by who logs them, metrics beside their best."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

import mmdet
import mmengine
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger, print_log
from pycocotools.coco import COCO

import mmfrcnn
from mmfrcnn.cli.each_class import evaluate_each_class
from mmfrcnn.cli.trackers import BACKENDS
from mmfrcnn.training.console import quiet_coco, quieten
from mmfrcnn.training.progress import metric_table, split_metrics
from mmfrcnn.training.results import best_row, read_results, write_results
from tests.end_to_end.tiny import make_config, run_here

ROWS = [
    {'epoch': '1', 'iteration': '10', 'coco/bbox_mAP': '0.25', 'val/loss': '2'},
    {'epoch': '2', 'iteration': '20', 'coco/bbox_mAP': '0.5', 'val/loss': '1'},
    {'epoch': '3', 'iteration': '30', 'coco/bbox_mAP': 'nan', 'val/loss': ''},
    {'epoch': '4', 'iteration': '40', 'coco/bbox_mAP': '0.5', 'val/loss': '3'},
]


def logged_by(package: object, level: int, message: str) -> logging.LogRecord:
    """Return a message that a file of a package logs."""
    path = str(Path(package.__file__).parent / 'engine/some_file.py')
    return logging.LogRecord('mmengine', level, path, 1, message, (), None)


def quiet_logger(folder: Path) -> MMLogger:
    """Return a quiet logger, with a file."""
    logger = MMLogger('quiet', log_file=str(folder / 'all.log'))
    quieten(logger)
    return logger


@pytest.mark.parametrize(
    'package, level, message, shown',
    [
        (mmengine, logging.INFO, 'Hooks will be executed', ''),
        (mmdet, logging.INFO, 'Evaluating bbox...', ''),
        (mmfrcnn, logging.INFO, 'train data', 'train data'),
        (pytest, logging.INFO, 'from a hook of the user', 'from a hook of the user'),
        (mmengine, logging.WARNING, 'odd', 'WARNING: odd'),
        (mmdet, logging.ERROR, 'broken', 'ERROR: broken'),
        (mmengine, logging.WARNING, '"FileClient" will be deprecated in 1.0', ''),
        (mmfrcnn, logging.DEBUG, 'detail', ''),
    ],
)
def test_the_console_shows_what_matters_and_the_file_all(
    capsys, tmp_path, package, level, message, shown
) -> None:
    quiet_logger(tmp_path).handle(logged_by(package, level, message))
    assert capsys.readouterr().out == shown + '\n' * bool(shown)
    kept = level >= logging.INFO  # mmengine's own level
    assert (message in (tmp_path / 'all.log').read_text()) == kept


def test_other_processes_stay_quiet(tmp_path, capsys) -> None:
    logger = MMLogger('other')
    logger.handlers[0].setLevel(logging.ERROR)  # as mmengine does it
    quieten(logger)
    logger.warning('of one of many')
    assert capsys.readouterr().out == ''


def test_pycocotools_is_quiet_for_a_while(tmp_path, capsys) -> None:
    config = make_config(tmp_path)
    logger = MMLogger.get_instance('coco', log_file=str(tmp_path / 'all.log'))
    quieten(logger)
    file = config.parent / 'data/train.json'
    with quiet_coco():
        COCO(str(file))
        print('of the user')
    assert capsys.readouterr().out == 'of the user\n'
    assert 'creating index...' in (tmp_path / 'all.log').read_text()
    COCO(str(file))
    assert 'creating index...' in capsys.readouterr().out


def test_print_log_is_the_frameworks(tmp_path, capsys) -> None:
    print_log('many words', quiet_logger(tmp_path))
    assert capsys.readouterr().out == ''


def test_the_best_row_is_the_last_of_the_highest() -> None:
    assert best_row(ROWS, 'coco/bbox_mAP') is ROWS[3]
    assert best_row(ROWS, 'val/loss') is ROWS[1]
    assert best_row(ROWS, 'unknown') is None
    assert best_row([], 'val/loss') is None


def test_the_table_tells_the_best_so_far() -> None:
    class Dataset:
        metainfo = {'classes': ('a', 'the b')}

    metrics = {
        'coco/the b_precision': 0.25,
        'coco/bbox_mAP': 0.25,
        'coco/bbox_mAP_l': -1.0,
        'coco/new': 0.125,
        'coco/text': 'not a number',
    }
    general, of_class = split_metrics(metrics, Dataset())
    assert metric_table('Title', general, of_class, ROWS) == [
        'Title',
        '  coco/bbox_mAP:   0.250   best 0.500 after iteration 40',
        '  coco/bbox_mAP_l: -       there is no such object',
        '  coco/new:        0.125',
        '  AP of each class: the b 0.250',
    ]
    general = {'coco/bbox_mAP': 0.5}
    assert 'best so far' in metric_table('Title', general, {}, ROWS)[1]
    assert metric_table('Title', {}, {}, []) == ['Title']


def test_results_are_read_as_written_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / 'results.csv'
    assert read_results(path) == []
    write_results(path, [*ROWS, {'epoch': '5', 'iteration': '50', 'new, "odd"': '1'}])
    rows = read_results(path)
    assert [row['iteration'] for row in rows] == ['10', '20', '30', '40', '50']
    assert (rows[0]['new, "odd"'], rows[4]['new, "odd"']) == ('', '1')
    for text in ('', 'epoch,iteration\n1,many\n', 'epoch,iteration\n1\n', 'a\n1\n'):
        path.write_text(text)
        assert read_results(path) == []
    path.write_bytes(b'\xff\xfe\x00')
    assert read_results(path) == []


@pytest.mark.parametrize(
    'changes, classwise',
    [
        ({}, True),
        ({'val_evaluator.classwise': False}, False),
        ({'default_hooks.checkpoint.save_best': 'auto'}, None),
        ({'val_dataloader.dataset.metainfo.classes': ('a/b', 'c')}, None),
        (
            {'val_dataloader.dataset.metainfo.classes': tuple('abcdefghijklmnopqrstu')},
            None,
        ),
        ({'val_evaluator.type': 'FastCocoMetric'}, True),
        ({'val_evaluator.type': 'VocMetric'}, None),
    ],
)
def test_classes_are_evaluated_where_they_are_few(tmp_path, changes, classwise) -> None:
    config = Config.fromfile(make_config(tmp_path))
    config.merge_from_dict(changes)
    evaluate_each_class(config, 'val')
    assert config.val_evaluator.get('classwise') is classwise


def test_a_tracker_that_is_not_installed_is_one_line(tmp_path, capsys) -> None:
    missing = [name for name in BACKENDS if find_spec(name) is None]
    if not missing:
        pytest.skip('every tracker is installed here')
    args = ['no_such_config.py', '--work-dir', tmp_path / 'run', '--log', missing[0]]
    assert run_here('train', *args) == 2
    name = missing[0]
    expected = f'error: --log {name} needs the package {name}: pip install {name}\n'
    assert capsys.readouterr().err == expected
    assert not (tmp_path / 'run').exists()
