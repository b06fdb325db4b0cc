"""All figures together: they are plain, agree with each other, and bear emptiness."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmfrcnn.evaluation.figures import figures_of
from mmfrcnn.evaluation.figures.figures import MOST_CURVES
from tests.evaluation.figures.oracle import cocos, columns_of, drawn


def test_they_are_plain_and_agree():
    truth, found = drawn(1, images=20)
    columns = columns_of(truth, found)
    figures = figures_of(columns)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures == figures_of(columns)  # the draws are seeded
    precision, recall = cocos(truth, found)
    mean = figures['mean']
    assert mean['AP'] == pytest.approx(precision.mean(), abs=1e-12)
    assert mean['AR'] == pytest.approx(recall.mean(), abs=1e-12)
    for name, bounds in mean['interval'].items():
        assert bounds['low'] < mean[name] < bounds['high'], name
    confusion = figures['confusion']
    best = figures['curves']['all']['best']
    assert confusion['threshold'] == best['threshold']
    assert sum(confusion['detected']) == round(best['recall'] * figures['objects'])
    assert np.sum(confusion['matrix'][:-1]) == figures['objects']
    for row, place in zip(figures['classes'], range(3), strict=True):
        own = [one for one in found if one['category_id'] == place + 1]
        assert row['detections'] == len(own)
        assert row['AP75'] == pytest.approx(precision[5, :, place].mean(), abs=1e-12)
    assert sum(row['objects'] for row in figures['classes']) == figures['objects']


def test_the_page_says_how(tmp_path, monkeypatch, capsys):
    """The block of docs/diagnose.md, beside two ledgers."""
    truth, found = drawn(1, images=20)
    monkeypatch.chdir(tmp_path)
    for run, kept in {'first': found[::10], 'second': found}.items():
        (tmp_path / run).mkdir()
        columns_of(truth, kept).write(tmp_path / run / 'ledger.npz')
    page = (Path(__file__).parents[3] / 'docs/diagnose.md').read_text('utf-8')
    blocks = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    (block,) = [one for one in blocks if 'compare' in one]
    exec(block, {})
    mean, sentence = capsys.readouterr().out.splitlines()
    assert set(eval(mean)) == {'AP', 'AP50', 'AP75', 'AR', 'interval'}
    said, example = (
        re.sub(r'\d\.\d{3}', '#', line)
        for line in (sentence, block.splitlines()[-1].removeprefix('# '))
    )
    assert said == example


@pytest.mark.parametrize(
    'what', ['no images', 'one image', 'no objects', 'no detections', 'no class of one']
)
def test_nothing(what):
    truth, found = drawn(1, images=8)
    if what == 'no images':
        truth['images'] = []
    if what == 'one image':
        truth['images'] = truth['images'][:1]
    if what == 'no objects':
        truth['annotations'] = []
    if what == 'no detections':
        found = []
    if what == 'no class of one':
        truth['annotations'] = [
            one for one in truth['annotations'] if one['category_id'] == 1
        ]
    figures = figures_of(columns_of(truth, found))
    json.dumps(figures, allow_nan=False)
    mean, rows = figures['mean'], figures['classes']
    if what in ('no images', 'no objects'):
        assert mean['AP'] is None and rows == []
        assert mean['interval']['AP'] == {'low': None, 'high': None}
        assert figures['curves']['all']['best']['threshold'] is None
    if what == 'one image':
        assert mean['AP'] is not None and mean['interval']['AP']['low'] is None
    if what == 'no detections':
        assert mean['AP'] == mean['interval']['AP']['high'] == 0
        assert all(row['precision'] is None and row['F1'] == 0 for row in rows)
        assert sum(figures['confusion']['missed']) == figures['objects']
    if what == 'no class of one':
        assert [row['name'] for row in rows] == ['0']


def test_ten_thousand_classes():
    columns = columns_of(*drawn(1, images=8))
    many = replace(columns, classes=np.array([f'{i}' for i in range(10_000)]))
    start = time.process_time()
    figures = figures_of(many)
    assert time.process_time() - start < 30
    assert figures['mean']['AP'] == figures_of(columns)['mean']['AP']
    assert figures['confusion']['matrix'] is None
    assert len(figures['curves']['classes']) == 3 < MOST_CURVES
    assert len(json.dumps(figures)) < 1_000_000
