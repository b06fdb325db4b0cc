"""Inference with convolutions and linear layers in half precision."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from torch import nn
from torch.nn.modules.conv import _ConvNd

DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
"""Half precisions by the names that the tools take."""


def halve_precision(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Let a trained model's layers multiply in half precision, in place.

    Weights of convolutions and linear layers are rounded once. What is no such layer,
    the boxes, scores and NMS above all, stays float32.

    Args:
        model (nn.Module): A detector, or a wrapper around one.
        dtype (torch.dtype): float16 or bfloat16.

    Returns:
        nn.Module: The same model.
    """
    for part in model.modules():
        if isinstance(part, (_ConvNd, nn.Linear)):
            part.to(dtype)
    for part in model.modules():
        if isinstance(part, BaseDetector):
            part.forward = _autocast(part.forward, next(part.parameters()), dtype)
    return model


def _autocast(forward: Any, weight: nn.Parameter, dtype: torch.dtype) -> Any:
    @wraps(forward)
    def lower(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(weight.device.type, dtype):
            return forward(*args, **kwargs)

    return lower
