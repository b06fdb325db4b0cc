"""How large the gradient of each part of a network is."""

from __future__ import annotations

import functools
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

DUE = 'gradients_are_due'
"""What a checkpoint says of whether the next update is measured."""


@HOOKS.register_module()
class GradientHook(Hook):
    """Logs the norm of each part's gradient: ``gradient_backbone`` and so on.

    Of one update in each interval of the log, the first; before clipping, and without
    the factor of mixed precision. A norm stays on the device until the losses are read.
    An update that the gradient scaler leaves out has none that is finite.
    """

    priority = 'HIGHEST'  # before what keeps the outputs of an iteration

    def __init__(self) -> None:
        self._watched: OptimWrapper | None = None
        self._interval = 1
        self._due = True
        self._norms: dict[str, Tensor] = {}

    def before_train(self, runner: Runner) -> None:
        """Find out how often the log is written."""
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        self._interval = loggers[0].interval if loggers else 1
        if runner.iter:
            self._due = bool(runner.message_hub.runtime_info.get(DUE, True))

    def before_saving(self, runner: Runner) -> None:
        """Have a resumed run measure the same updates."""
        runner.message_hub.update_info(DUE, self._due)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Watch what updates the weights; alternating training has some in a row."""
        wrapper = runner.optim_wrapper
        if isinstance(wrapper, OptimWrapper) and wrapper is not self._watched:
            self._watched = wrapper
            self._watch(wrapper, runner.model)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Give the norms, if there are, to what keeps the losses."""
        if outputs is not None:
            outputs.update(self._norms)
        self._norms = {}
        if self.every_n_inner_iters(batch_idx, self._interval) or self.end_of_epoch(
            runner.train_dataloader, batch_idx
        ):
            self._due = True

    def _watch(self, wrapper: OptimWrapper, model: Any) -> None:
        """Have the gradients measured before ``wrapper`` clips and uses them."""
        plain = wrapper.step
        model = model.module if is_model_wrapper(model) else model

        @functools.wraps(plain)  # with the mark that a schedule looks for
        def step(**options: Any) -> None:
            if self._due:
                self._due = False
                self._norms = gradient_norms(model, _scale(wrapper))
            plain(**options)

        wrapper.step = step


@torch.no_grad()
def gradient_norms(model: nn.Module, scale: Tensor | float = 1.0) -> dict[str, Tensor]:
    """Return the Euclidean norm of the gradient of each part that has one.

    Args:
        model (nn.Module): Its children are the parts.
        scale (Tensor | float): What the loss was multiplied with.

    Returns:
        dict: ``gradient_NAME``, shape (), where the weights are.
    """
    norms = {}
    for name, part in model.named_children():
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        if gradients:
            norms[f'gradient_{name}'] = get_total_norm(gradients) / scale
    return norms


def _scale(wrapper: OptimWrapper) -> Tensor | float:
    """Return what a loss is multiplied with; ``get_scale`` would wait for it."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    scale = scaler._get_scale_async() if scaler is not None else None
    return 1.0 if scale is None else scale
