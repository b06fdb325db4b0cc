"""Checks that a part of a config can do what its place asks of it.

A sampler where an assigner belongs is a registered name and takes its arguments; the
Runner would find out in the middle of the first step.
"""

from __future__ import annotations

from typing import Any

from mmdet.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    TASK_UTILS,
    TRANSFORMS,
)
from mmengine.registry import Registry

from mmfrcnn.errors import UserError

# What the part around calls; a class of anybody's that has it will do.
NEEDS = {
    'model': (MODELS, 'test_step'),
    'rpn_head': (MODELS, 'loss_and_predict'),
    'roi_head': (MODELS, '_bbox_forward'),
    'bbox_roi_extractor': (MODELS, 'num_inputs'),
    'mask_roi_extractor': (MODELS, 'num_inputs'),
    'data_preprocessor': (MODELS, 'cast_data'),
    'anchor_generator': (TASK_UTILS, 'grid_priors'),
    'bbox_coder': (TASK_UTILS, 'decode'),
    'assigner': (TASK_UTILS, 'assign'),
    'sampler': (TASK_UTILS, 'sample'),
    'dataset': (DATASETS, '__getitem__'),
    'pipeline': (TRANSFORMS, '__call__'),
    'custom_hooks': (HOOKS, 'before_train'),
    'default_hooks': (HOOKS, 'before_train'),
    'val_evaluator': (METRICS, 'compute_metrics'),
    'test_evaluator': (METRICS, 'compute_metrics'),
}
"""The registry that a place is filled from, and what its parts must have."""

IN_LOADER = {'sampler': (DATA_SAMPLERS, '__iter__')}
"""The places of a dataloader that are others elsewhere."""


def check_place(path: str, name: str, target: Any) -> None:
    """Check that a part fits the key that it stands at.

    Args:
        path (str): Dotted key of the part, such as ``model.rpn_head``.
        name (str): Its registered name.
        target (Any): The class or function of that name.

    Raises:
        UserError: Naming the key, what is missing, and the parts that fit.
    """
    keys = [key for key in path.split('.') if not key.isdigit()]
    place = 'default_hooks' if keys[0] == 'default_hooks' else keys[-1]
    needs = NEEDS
    if keys[0].endswith('_dataloader'):
        needs = NEEDS | IN_LOADER
    if place not in needs:
        return
    registry, method = needs[place]
    if hasattr(target, method) or not isinstance(target, type):
        return
    raise UserError(
        f'{path}: {name} does not fit there, it has no {method}. '
        f'Parts that fit: {", ".join(_fitting(registry, method))}'
    )


def _fitting(registry: Registry, method: str) -> list[str]:
    """Return the names of parts that have a method: this package's, then some."""
    known = registry.module_dict.items()
    parts = [(name, part) for name, part in known if hasattr(part, method)]
    own = sorted(name for name, part in parts if part.__module__[:7] == 'mmfrcnn')
    rest = sorted(name for name, part in parts if name not in own)
    return own + rest[: max(8 - len(own), 0)]
