"""The losses of 20 iterations of three configs, and the file that holds them.

A change that moves code but no arithmetic leaves them as they are, to the bit on one
machine. Write them again, only where the arithmetic was meant to change, with
``PYTHONPATH=projects OMP_NUM_THREADS=1 python -m tests.zoo.golden``.
"""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path

import mmfrcnn  # before mmdet, which it makes importable

# isort: split
import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from . import small
from .pictures import draw

assert mmfrcnn
ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name('golden_losses.json')
CONFIGS = (
    'shapes/faster-rcnn_r18_fpn_shapes.py',
    'faster_rcnn/faster-rcnn_vgg16_voc07.py',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
)
ITERATIONS = 20
# What a test runs of the three: the two large ones only begin.
TESTED = dict(zip(CONFIGS, (20, 2, 4), strict=True))
SHARE_OF_RATE = 0.01  # random weights, no warm-up: rounding must not grow


def losses(
    name: str, pictures: Path, iterations: int = ITERATIONS
) -> dict[str, list[float]]:
    """Train a shipped config on small pictures; return the course of each loss."""
    config = small.shrink(Config.fromfile(ROOT / 'configs' / name))
    np.random.seed(0)
    items = small.load(config, 'train', pictures)
    detector = small.build(config.model).train()
    optimizer = copy.deepcopy(config.optim_wrapper)
    optimizer.optimizer.lr *= SHARE_OF_RATE
    wrapper = build_optim_wrapper(detector, optimizer)
    history: dict[str, list[float]] = {}
    for _ in range(iterations):
        data = detector.data_preprocessor(pseudo_collate(items), True)
        total, logged = detector.parse_losses(detector(**data, mode='loss'))
        wrapper.update_params(total)
        for key, value in logged.items():
            if 'loss' in key or key == 'acc':
                history.setdefault(key, []).append(value.item())
    return history


if __name__ == '__main__':
    init_default_scope('mmdet')
    with tempfile.TemporaryDirectory() as folder:
        pictures = draw(Path(folder) / 'drawn')
        found = {name: losses(name, pictures) for name in CONFIGS}
    FILE.write_text(json.dumps(found, indent=1) + '\n')
