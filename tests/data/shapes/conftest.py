"""A small data set of drawn shapes, made once."""

from __future__ import annotations

import pytest

from mmfrcnn.data.shapes.generate import make_shapes


@pytest.fixture(scope='session')
def counts():
    return {'train': 40, 'val': 8}


@pytest.fixture(scope='session')
def shapes_root(tmp_path_factory, counts):
    root = tmp_path_factory.mktemp('shapes')
    make_shapes(root, seed=3, counts=counts, workers=2)
    return root
