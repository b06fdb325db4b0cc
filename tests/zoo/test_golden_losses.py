"""Twenty iterations of three configs lose what they lost when the file was written."""

from __future__ import annotations

import json

import pytest

from .golden import CONFIGS, FILE, ITERATIONS, losses
from .pictures import draw

# Processors round differently: one thread or two make a difference of 1e-6.
RELATIVE, ABSOLUTE = 1e-3, 1e-4


@pytest.mark.parametrize('name', CONFIGS)
def test_losses_are_the_golden_ones(name, tmp_path):
    golden = json.loads(FILE.read_text())[name]
    found = losses(name, draw(tmp_path / 'drawn'))
    assert found.keys() == golden.keys()
    for key, values in golden.items():
        assert len(values) == ITERATIONS
        if key != 'acc':  # counts samples: one that tips over is 3 in a hundred
            near = pytest.approx(values, rel=RELATIVE, abs=ABSOLUTE)
            assert found[key] == near, key
