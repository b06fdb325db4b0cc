"""sigmoid_focal_loss of mmcv.ops against Lin et al.'s formula in Python floats."""

from __future__ import annotations

import math

import pytest
import torch
from mmcv.ops import sigmoid_focal_loss

DEVICES = [
    'cpu',
    pytest.param(
        'cuda',
        marks=pytest.mark.skipif(
            not torch.cuda.is_available(), reason='needs a CUDA device'
        ),
    ),
]
TARGET = torch.tensor([0, 2, 3, 1, 3])  # 3 is background
WEIGHT = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)


def logits():
    generator = torch.Generator().manual_seed(2)
    return 3 * torch.randn(5, 3, generator=generator, dtype=torch.float64)


def brute_loss(logits, target, gamma, alpha, weight=None):
    loss = torch.zeros_like(logits)
    for n, label in enumerate(target.tolist()):
        for c in range(logits.size(1)):
            prob = 1 / (1 + math.exp(-logits[n, c]))
            if c == label:
                loss[n, c] = -alpha * (1 - prob) ** gamma * math.log(prob)
            else:
                loss[n, c] = -(1 - alpha) * prob**gamma * math.log(1 - prob)
            if weight is not None and label < len(weight):
                loss[n, c] *= weight[label]
    return loss


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.8)])
def test_values(device, weighted, gamma, alpha):
    weight = WEIGHT if weighted else None
    expected = brute_loss(logits(), TARGET, gamma, alpha, weight)
    for dtype, tolerance in (
        (torch.float64, 1e-10),
        (torch.float32, 1e-5),
        (torch.float16, 5e-3),
        (torch.bfloat16, 5e-2),
    ):
        given = logits().to(device, dtype)
        scale = weight.to(device, dtype) if weighted else None
        for reduction, total in (
            ('none', expected),
            ('sum', expected.sum()),
            ('mean', expected.sum() / 5),
        ):
            found = sigmoid_focal_loss(
                given, TARGET.to(device), gamma, alpha, scale, reduction
            )
            assert found.dtype == dtype
            torch.testing.assert_close(
                found.cpu().double(), total, atol=tolerance, rtol=tolerance
            )


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean'])
def test_gradients(device, weighted, reduction):
    given = logits().to(device).requires_grad_()
    target, weight = TARGET.to(device), WEIGHT.to(device) if weighted else None

    def loss(given):
        return sigmoid_focal_loss(given, target, 1.5, 0.3, weight, reduction)

    # With 'none' mmcv's backward wants the gradient of each element alone.
    assert torch.autograd.gradcheck(loss, given)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_logits_of_any_size_stay_finite(dtype):
    given = torch.tensor([[100.0, -100], [-100, 100]]).to(dtype).requires_grad_()
    loss = sigmoid_focal_loss(given, torch.tensor([0, 0]), 2.0, 0.25, None, 'sum')
    loss.backward()
    assert loss.isfinite()
    assert given.grad.isfinite().all()
    # Right answers cost nothing, and wrong ones more than fifty.
    costs = sigmoid_focal_loss(given, torch.tensor([0, 0]), 2.0, 0.25, None, 'none')
    assert costs[0].max() == 0
    assert costs[1, 0] > 20
    assert costs[1, 1] > 50


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('shape', [(0, 3), (0, 0)])
def test_no_samples(device, shape):
    given = torch.zeros(shape, device=device, requires_grad=True)
    target = torch.zeros(0, dtype=torch.long, device=device)
    loss = sigmoid_focal_loss(given, target, 2.0, 0.25, None, 'sum')
    loss.backward()
    assert loss == 0
    assert given.grad.shape == shape
