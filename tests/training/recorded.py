"""What stands in for CUDA graphs where there is no GPU: a trace.

A trace by `make_fx` keeps, as a CUDA graph does, the operators of the first batch of a
kind and nothing that Python decided or computed beside them: what it is not given as a
tensor is a constant of it.
"""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.fx.experimental.proxy_tensor import make_fx

from tests.parity.conftest import ROOT, make_sample, shrink
from tests.shallow import shorten_resnets

# Images of each batch: height, width, objects. The second and the third are one kind,
# like the first but for the slots of 9 objects; in the fourth and fifth one image is
# padded, with and without anchors that reach beyond it.
BATCHES = [
    [(64, 96, 9), (64, 96, 1)],
    [(64, 96, 2), (64, 96, 0)],
    [(64, 96, 3), (64, 96, 4)],
    [(64, 96, 2), (32, 64, 1)],
    [(40, 90, 2), (64, 96, 8)],
    [(64, 96, 5), (33, 65, 2)],
]


def trace(module, given):
    """Trace forward and backward, and replay both as one node of autograd."""
    weights = [p for p in module.parameters() if p.requires_grad]
    if not torch.is_grad_enabled():
        return make_fx(module)(*given)

    def step(*given):
        losses = module(*given)
        summed = sum(loss for loss in losses if loss.requires_grad)
        return losses, torch.autograd.grad(summed, weights, allow_unused=True)

    graph = make_fx(step)(*given)

    class Replayed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, number, *inputs):
            losses, ctx.gradients = graph(*inputs[:number])
            return tuple(loss.detach() for loss in losses)

        @staticmethod
        def backward(ctx, *outer):
            return None, *[None] * len(given), *ctx.gradients

    return lambda *batch: Replayed.apply(len(given), *batch, *weights)


def several_times(module, given):
    """Run as a recorder does before it records, and record nothing."""
    for _ in range(3):
        module(*given)
        torch.rand(1)
    return module


def small_config(name='faster-rcnn_r50_fpn'):
    """Return a shipped model, small."""
    init_default_scope('mmdet')
    model = shrink(Config.fromfile(ROOT / f'configs/_base_/models/{name}.py').model)
    model.train_cfg.rpn_proposal.update(nms_pre=40, max_per_img=30)
    stages = model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 32
    return model


def build(config, seed=0):
    torch.manual_seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        shorten_resnets(patch, blocks=1)
        detector = MODELS.build(config)
    detector.init_weights()
    return detector.train()


def batch(detector, sizes, seed, training=True):
    masks = hasattr(detector.roi_head, 'mask_head')
    samples = [
        make_sample(*size, seed * 10 + place, classes=20, masks=masks)
        for place, size in enumerate(sizes)
    ]
    data = dict(
        inputs=[one['inputs'] for one in samples],
        data_samples=[one['data_samples'] for one in samples],
    )
    return detector.data_preprocessor(data, training)
