"""Pictures for every config, and the registries' scope."""

from __future__ import annotations

import mmfrcnn  # before mmdet, which it makes importable

# isort: split
import pytest
from mmengine.registry import init_default_scope

from .pictures import COCO, draw

assert mmfrcnn


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope('mmdet')


@pytest.fixture(scope='session')
def drawn(tmp_path_factory):
    """Return a folder of drawn pictures with COCO annotations."""
    return draw(tmp_path_factory.mktemp('pictures') / 'drawn')


@pytest.fixture
def pictures(request, drawn):
    """Return a folder of ``drawn`` or ``real`` pictures with COCO annotations."""
    if request.param == 'drawn':
        return drawn
    if not COCO.is_dir():
        pytest.skip(f'needs the real pictures in {COCO}')
    return COCO
