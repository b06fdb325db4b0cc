"""Faster R-CNN as an MMDetection plugin on today's PyTorch, nothing to compile.

``import mmfrcnn`` is enough to make mmdet work: it first mends what today's torch asks
of the mm stack (`mmfrcnn.compat`), then registers every part in mmdet's registries.
"""

from __future__ import annotations

from mmfrcnn import compat

__version__ = '0.1.0'

compat.install()


# Importing them registers them; they import mmdet, so only now.
from mmfrcnn import (  # noqa: E402
    data,
    deploy,
    evaluation,
    modeling,
    training,
    weights,
)
from mmfrcnn.cli.in_python import train  # noqa: E402
from mmfrcnn.deploy import Detector  # noqa: E402

__all__ = [
    'Detector',
    '__version__',
    'compat',
    'data',
    'deploy',
    'evaluation',
    'modeling',
    'train',
    'training',
    'weights',
]
