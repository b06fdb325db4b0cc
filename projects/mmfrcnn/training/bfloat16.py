"""Training with convolutions and linear layers in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16 (torch.autocast); weights stay float32.

    bfloat16 has the range of float32: no loss is scaled, no step is skipped, and nobody
    waits to see whether a gradient is finite, as float16 demands (mmengine's
    ``AmpOptimWrapper``). Runs on CPUs too. Takes mmengine's ``OptimWrapper`` arguments.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run a step's forward, and what mmengine does around it, in bfloat16."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
