"""``--amp`` and ``--precision``: in what numbers a run multiplies."""

from __future__ import annotations

import torch
from mmengine.config import Config

from mmfrcnn.deploy.precision import card_has_bfloat16, check_precision


def use_mixed_precision(config: Config, kind: str, device: str) -> None:
    """Let a training multiply in half precision; weights stay float32.

    Args:
        config (Config): Whose ``optim_wrapper`` is changed.
        kind (str): ``bf16``, ``fp16``, or ``auto``: bf16 where the device has it.
        device (str): ``cpu`` or ``cuda``.

    Raises:
        UserError: If the device cannot train so.
    """
    if kind == 'auto':
        kind = 'bf16' if device == 'cpu' or card_has_bfloat16() else 'fp16'
    check_precision(kind, device, '--amp')
    wrapper = config.optim_wrapper
    for key in ('dtype', 'loss_scale'):  # of a config that is in mixed precision itself
        wrapper.pop(key, None)
    if kind == 'bf16':
        wrapper.type = 'Bfloat16OptimWrapper'
    else:
        wrapper.type, wrapper.loss_scale = 'AmpOptimWrapper', 'dynamic'


def choose_precision(name: str | None, device: str) -> str:
    """Check what ``--precision`` asks for, and hold a card to full float32 if it is.

    Args:
        name (str | None): ``fp32``, ``bf16`` or ``fp16``. None: float32, of which a
            card may round what it multiplies to TF32.
        device (str): ``cpu`` or ``cuda``, with or without a number.

    Raises:
        UserError: If the device cannot run so.
    """
    if name is None:
        return 'fp32'
    check_precision(name, device, '--precision')
    if name == 'fp32':
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision('highest')
    return name
