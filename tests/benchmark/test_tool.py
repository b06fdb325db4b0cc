"""tools/benchmark.py as people call it."""

from __future__ import annotations

import json
import resource
import sys

import pytest
from mmfrcnn_benchmark import loader, scale
from mmfrcnn_benchmark.tables import render

import mmfrcnn  # noqa: F401
from mmfrcnn.cli.config import load_config
from tests.end_to_end.tiny import make_config
from tests.tools import REPO, run_tool

TINY = ['--size', '64', '96', '--rounds', '2', '--warmup', '0', '--threads', '1']


def benchmark(*arguments):
    return run_tool('benchmark.py', *arguments, cwd=REPO, timeout=300)


def test_tables_and_json(tmp_path):
    out = tmp_path / 'figures.json'
    done = benchmark(
        *('--infer', '--heads', '--pooling', '--batch-size', 1),
        *('--json', out, '--peers', 'mmdet', *TINY),
    )
    assert done.returncode == 0, done.stderr
    for text in ('time over mmfrcnn', 'best peer over ours', '**heads**', 'RoIAlign'):
        assert text in done.stdout
    infer, heads, pooling = json.loads(out.read_text())
    assert set(infer['seconds']) == {'mmfrcnn', 'mmdet'}
    assert all(len(values) == 2 for values in infer['seconds'].values())
    assert min(min(values) for values in pooling['seconds'].values()) > 0
    assert {'backward', 'proposals'} <= set(heads['stages']['mmfrcnn'][0])
    assert infer['machine']['processor'] and infer['machine']['date']


def test_loader(tmp_path, monkeypatch):
    config = make_config(tmp_path)
    monkeypatch.setattr(loader, 'SECONDS', 0.3)
    monkeypatch.setattr(loader, 'usable_cores', lambda: 2)
    result = loader.measure_loader(load_config(str(config)), print)
    assert [point['workers'] for point in result['points']] == [0, 1, 2]
    assert all(point['rate'] > 0 for point in result['points'])
    text = render(result)
    assert '0 (the config)' in text and 'images/s' in text


def test_scale_measures_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setitem(scale.AXES, 'gts', ('--objects', (1000,)))
    monkeypatch.setattr(sys, 'argv', [str(REPO / 'tools/benchmark.py')])
    result = scale.measure_scale('gts', [*TINY, '--rounds', '1'], lambda message: None)
    (point,) = result['points']
    assert point['value'] == 1000
    # It imports torch: 0.1 GiB at the least.
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert 0.1 < point['memory'] <= largest
    text = render(result)
    assert '1,000' in text and 'peak GiB' in text


def test_scale_draws(tmp_path):
    points = [dict(value=n, seconds=[n / 9, n / 8], memory=1.0) for n in (1, 10, 100)]
    plot = tmp_path / 'scale.png'
    scale.draw([dict(axis=axis, points=points) for axis in scale.AXES], str(plot))
    assert plot.read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    'arguments, message',
    [
        ([], 'say what to measure'),
        (['--infer', '--peers', 'mmdt'], "no contender 'mmdt'"),
        (['--infer', '--plot', 'a.png'], '--plot draws what --scale measures'),
        (['--infer', '--device', 'tpu'], '--device tpu'),
        (['--infer', '--rounds', '0'], '--rounds'),
        (['--infer', '--size', '0', '96'], '--size'),
        (['--infer', '--peers', '--json', '/nowhere/a.json', *TINY], '/nowhere/a.json'),
    ],
)
def test_mistakes(arguments, message):
    done = benchmark(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
