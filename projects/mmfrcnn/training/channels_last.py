"""Convolutions in the memory order that the processor's kernels want."""

from __future__ import annotations

import copy

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep weights, and with them all feature maps, as (N, H, W, C) in memory.

    Shapes and results stay as they are. oneDNN's and cuDNN's convolutions work in this
    order and are spared two copies each; RoIAlign on a CPU reads whole rows of it.
    """

    def before_run(self, runner: Runner) -> None:
        """Reorder the weights once, before training or testing.

        The wrapper for several processes lays out its gradients as the weights lie when
        it is made, which the Runner does before any hook. So it is made anew.
        """
        model = runner.model
        wrapped = is_model_wrapper(model)
        inner = model.module if wrapped else model
        inner.to(memory_format=torch.channels_last)
        if wrapped:
            config = copy.deepcopy(runner.cfg.get('model_wrapper_cfg'))
            runner.model = runner.wrap_model(config, inner)
