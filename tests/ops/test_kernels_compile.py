"""Every Triton kernel compiles for every card and has there what it asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmfrcnn_benchmark import kernels
from mmfrcnn_benchmark.tables import render

pytest.importorskip('triton', reason='Triton is not installed')


@pytest.fixture(scope='module')
def compiled(tmp_path_factory):
    out = tmp_path_factory.mktemp('kernels') / 'kernels.json'
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name('crowded.py')), str(out)],
        env={**os.environ, 'TRITON_INTERPRET': '0'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def test_every_card_has_what_the_kernels_ask_for(compiled):
    rows = compiled['kernels']
    names = list(dict.fromkeys(row['kernel'] for row in rows))
    pairs = [(row['kernel'], row['capability']) for row in rows]
    assert pairs == [(n, card.capability) for n in names for card in kernels.CARDS]
    assert [line for row in rows for line in kernels.excess(row)] == []
    assert all(row['registers'] > 0 for row in rows)
    text = render(compiled)
    print(text)
    assert all(name in text for name in names)


def test_a_kernel_that_spills_is_seen(compiled):
    (line,) = kernels.excess(compiled['crowded'])
    assert line.startswith('crowded on sm_80: ') and line.endswith('bytes, of 0')


@pytest.mark.parametrize(
    'taken, complaint',
    [
        (dict(registers=256, threads=32), '256 registers a thread, of 255'),
        (dict(registers=129, threads=512), '66,048 registers, of 65,536'),
        (dict(shared=101_377), '101,377 bytes of shared memory, of 101,376'),
        (dict(rounded=['fma.rn.f32']), '1 inexact instructions, of 0'),
        (dict(atomic=['red.global.add.f32']), '1 atomic instructions, of 0'),
    ],
)
def test_what_a_card_does_not_have(taken, complaint):
    row = dict(
        kernel='a', capability=86, threads=128, registers=255, spilled=0, shared=101_376
    )
    row['rounded'] = row['atomic'] = []
    assert kernels.excess(row) == []
    assert kernels.excess({**row, **taken}) == [f'a on sm_86: {complaint}']
