"""torch.compile for what lies between the NMS calls."""

from __future__ import annotations

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

# Parts that are one graph from input to output.
DENSE = (
    'backbone',
    'neck',
    'rpn_head',
    'roi_head.shared_head',
    'roi_head.bbox_head',
    'roi_head.mask_head',
)
# Methods of tensors only; what comes before them depends on how many objects there are.
BATCHED = (
    ('rpn_head', 'select_proposals'),
    ('rpn_head', 'loss_of_sample'),
    ('roi_head', 'loss_of_sample'),
)


def compile_detector(model: nn.Module, backend: str = 'inductor') -> nn.Module:
    """Compile a two-stage detector's parts in place, each without a graph break.

    Shapes that change from batch to batch (multi-scale training) cost one compilation
    more, which then serves all of them.

    Args:
        model (nn.Module): A detector; parts that it does not have are passed over.
        backend (str): torch.compile's backend.

    Returns:
        nn.Module: The same model.
    """
    for name in DENSE:
        part = _find(model, name)
        # Of a cascade, each stage's.
        for one in part if isinstance(part, nn.ModuleList) else [part]:
            if one is not None:
                one.compile(backend=backend, fullgraph=True)
    for name, method in BATCHED:
        part = _find(model, name)
        plain = getattr(part, method, None)
        if plain is not None:
            compiled = torch.compile(plain, backend=backend, fullgraph=True)
            setattr(part, method, compiled)
    return model


@HOOKS.register_module()
class CompileHook(Hook):
    """:func:`compile_detector` before training starts."""

    priority = 'LOWEST'  # after hooks that copy the model

    def before_train(self, runner: Runner) -> None:
        """Compile; it happens with the first iteration."""
        model = runner.model
        compile_detector(model.module if is_model_wrapper(model) else model)


def _find(model: nn.Module, name: str) -> nn.Module | None:
    for part in name.split('.'):
        model = getattr(model, part, None)
    return model
