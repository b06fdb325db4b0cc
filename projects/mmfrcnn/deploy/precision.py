"""Inference with convolutions and linear layers in half precision."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from torch import nn
from torch.nn.modules.conv import _ConvNd

from mmfrcnn.errors import UserError

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


def check_precision(kind: str, device: str, option: str) -> None:
    """Check that a device can multiply in a precision.

    Args:
        kind (str): ``fp32``, ``bf16`` or ``fp16``.
        device (str): ``cpu`` or ``cuda``, with or without a number.
        option (str): What asks for it, for the message.

    Raises:
        UserError: If it can't, or there is no such precision.
    """
    if kind not in ('fp32', *DTYPES):
        raise UserError(f'{option} {kind}: it must be fp32, bf16 or fp16')
    if kind == 'fp16' and device == 'cpu':
        raise UserError(
            f'{option} fp16 needs a GPU, and torch {torch.__version__} runs on the CPU '
            f'here. Use {option} bf16'
        )
    if kind == 'bf16' and device != 'cpu' and not card_has_bfloat16():
        raise UserError(
            f'{option} bf16: {torch.cuda.get_device_name()} has no bfloat16. '
            f'Use {option} fp16'
        )


def card_has_bfloat16() -> bool:
    """Whether the GPU multiplies in bfloat16 itself."""
    return torch.cuda.is_bf16_supported(including_emulation=False)
