"""Statistics of batch norm stop where the config says; weights do not."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from mmdet.registry import HOOKS
from torch import nn


def test_statistics_stop_and_weights_go_on():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    norm = model[1]
    hook = HOOKS.build(dict(type='FreezeNormHook', begin=2))
    means = []
    for iteration in range(4):
        model.train()
        hook.before_train_iter(SimpleNamespace(model=model, iter=iteration), 0)
        norm.zero_grad()
        model(torch.randn(2, 3, 4, 4)).square().sum().backward()
        assert norm.weight.grad.abs().sum() > 0
        means.append(norm.running_mean.clone())
    assert not torch.equal(means[0], means[1])
    assert torch.equal(means[1], means[2]) and torch.equal(means[2], means[3])
