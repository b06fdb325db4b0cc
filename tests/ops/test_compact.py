"""Stream compaction against `nonzero`, row by row."""

from __future__ import annotations

import pytest
import torch

from mmfrcnn.ops.backend import using
from mmfrcnn.ops.compact import compact

BACKENDS = pytest.mark.parametrize('backend', ['cpu', 'reference'])


def marks(rows, entries, share, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, entries, generator=generator) < share


@BACKENDS
@pytest.mark.parametrize('share', [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize('shape', [(1, 1), (3, 40), (5, 1000)])
def test_equals_nonzero(shape, share, backend):
    marked = marks(*shape, share)
    with using(backend):
        index, filled = compact(marked, shape[1])
    slots = shape[1] if backend == 'reference' else int(marked.sum(1).max())
    assert index.shape == filled.shape == (shape[0], slots)
    assert index.dtype == torch.int64
    for row, places, held in zip(marked, index, filled, strict=True):
        assert torch.equal(places[held], row.nonzero()[:, 0])
        assert not held.int().diff().gt(0).any()  # the first slots
    assert ((index >= 0) & (index < shape[1])).all()  # empty ones can be looked up


@BACKENDS
def test_no_more_than_asked_for(backend):
    marked = marks(4, 50, 0.6)
    with using(backend):
        index, filled = compact(marked, 5)
    assert filled.all()
    for row, places in zip(marked, index, strict=True):
        assert torch.equal(places, row.nonzero()[:5, 0])


@BACKENDS
@pytest.mark.parametrize('shape', [(0, 7), (2, 0), (0, 0)])
def test_nothing(shape, backend):
    with using(backend):
        index, filled = compact(torch.zeros(shape, dtype=torch.bool), 3)
    assert index.shape == filled.shape
    assert not filled.any()
