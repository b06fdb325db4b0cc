"""Sigmoid focal loss, element by element (Lin et al., 2017).

N samples, C classes; targets in [0, C], where C is background (no positive class).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.compat.ops.precision import at_least_float32

_TINY = torch.finfo(torch.float32).tiny  # mmcv's floor under every logarithm


def _is_target(logits: Tensor, target: Tensor) -> Tensor:
    """Return a (N, C) mask of each sample's target class."""
    return target[:, None] == torch.arange(logits.size(1), device=logits.device)


def _sample_weight(weight: Tensor, target: Tensor) -> Tensor | float:
    """Return (N, 1) each sample's class weight; background, which has none, gets 1."""
    if weight.numel() == 0:
        return 1.0
    return torch.cat([weight, weight.new_ones(1)])[target][:, None]


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the focal loss of every sample and class into ``output``.

    Args:
        input (Tensor): (N, C) logits.
        target (Tensor): (N,) int64 class of each sample.
        weight (Tensor): (C,) weight of each target class, or empty for none.
        output (Tensor): (N, C) buffer.
        gamma (float): Exponent of the modulating factor.
        alpha (float): Weight of positives; negatives weigh 1 - alpha.
    """
    prob = at_least_float32(input).sigmoid()
    positive = -alpha * (1 - prob) ** gamma * prob.clamp(min=_TINY).log()
    negative = -(1 - alpha) * prob**gamma * (1 - prob).clamp(min=_TINY).log()
    loss = torch.where(_is_target(input, target), positive, negative)
    output.copy_(loss * _sample_weight(weight, target))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write d loss / d logit of every sample and class into ``grad_input`` (N, C)."""
    prob = at_least_float32(input).sigmoid()
    log_prob = prob.clamp(min=_TINY).log()
    log_rest = (1 - prob).clamp(min=_TINY).log()
    positive = -alpha * (1 - prob) ** gamma * (1 - prob - gamma * prob * log_prob)
    negative = -(1 - alpha) * prob**gamma * (gamma * (1 - prob) * log_rest - prob)
    grad = torch.where(_is_target(input, target), positive, negative)
    grad_input.copy_(grad * _sample_weight(weight, target))
