"""Batch norm that ends its training as it will be tested."""

from __future__ import annotations

from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm


@HOOKS.register_module()
class FreezeNormHook(Hook):
    """From some iteration on, normalise by the running statistics.

    In a batch of a few images each is normalised by what else is in the batch, and the
    network learns to count on it; tested, it has only the running statistics. The last
    part of training is made the same as testing. Weights and biases go on learning.

    Args:
        begin (int): First iteration with fixed statistics, counted from 0.
    """

    def __init__(self, begin: int) -> None:
        self.begin = begin

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Fix the statistics; the loop sets the model to training each iteration."""
        if runner.iter < self.begin:
            return
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
