"""Training in bfloat16: float32 weights, layers that multiply in bfloat16."""

from __future__ import annotations

import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

import mmfrcnn  # noqa: F401


def test_weights_stay_float32_and_steps_follow_the_exact_ones():
    torch.manual_seed(0)
    data, goal = torch.randn(64, 16), torch.randn(64, 1)
    finals, seen = {}, []
    for kind in ('OptimWrapper', 'Bfloat16OptimWrapper'):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
        model[2].register_forward_hook(lambda layer, _, out: seen.append(out.dtype))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        wrapper = OPTIM_WRAPPERS.build(dict(type=kind, optimizer=optimizer))
        for _ in range(20):
            with wrapper.optim_context(model):
                loss = (model(data).float() - goal).square().mean()
            wrapper.update_params(loss)
        assert all(p.dtype == torch.float32 for p in model.parameters())
        finals[kind] = loss.item()
    assert seen == [torch.float32] * 20 + [torch.bfloat16] * 20
    exact, rounded = finals.values()
    assert exact != rounded
    assert abs(exact - rounded) < 0.02 * exact


def test_its_state_is_an_ordinary_wrapper_s():
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    config = dict(type='Bfloat16OptimWrapper', optimizer=optimizer)
    plain = OPTIM_WRAPPERS.build(dict(config, type='OptimWrapper'))
    assert OPTIM_WRAPPERS.build(config).state_dict() == plain.state_dict()
