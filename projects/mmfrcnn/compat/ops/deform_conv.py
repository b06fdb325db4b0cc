"""Deformable convolution, without (v1) and with (v2) a modulation mask.

Shapes: input (N, C, H, W), weight (O, C / groups, kh, kw), offset
(N, deform_groups * kh * kw * 2, H', W') as (y, x) pairs, mask
(N, deform_groups * kh * kw, H', W'), output (N, O, H', W'). The argument names are
those of mmcv's compiled ops; its scratch buffers (columns, ones) stay untouched.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torchvision  # noqa: F401 -- its import registers torch.ops.torchvision
from torch import Tensor

from mmfrcnn.compat.ops.precision import at_least_float32


class Geometry(NamedTuple):
    """How the kernel moves, in the order torchvision's ops take it."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    deform_groups: int


class Gradients(NamedTuple):
    """Gradients with regard to the five inputs, in the order torchvision gives them."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


def _forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    """Return the convolution's output (N, O, H', W')."""
    return torch.ops.torchvision.deform_conv2d(
        *_complete(input, weight, offset, mask, bias), *geometry, mask is not None
    )


def _backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: Geometry,
) -> Gradients:
    """Return the gradients with regard to every input."""
    return Gradients(
        *torch.ops.torchvision._deform_conv2d_backward(
            at_least_float32(grad_output),
            *_complete(input, weight, offset, mask, bias),
            *geometry,
            mask is not None,
        )
    )


def _complete(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
) -> tuple[Tensor, ...]:
    """Return the tensors torchvision's ops take, with stand-ins for mask and bias."""
    if mask is None:
        mask = input.new_zeros((len(input), 1))
    if bias is None:
        bias = input.new_zeros(len(weight))
    return tuple(map(at_least_float32, (input, weight, offset, mask, bias)))


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the deformable convolution (v1, without bias) into ``output``."""
    geometry = Geometry(
        dH, dW, padH, padW, dilationH, dilationW, group, deformable_group
    )
    output.copy_(_forward(input, weight, offset, None, None, geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the gradients of input and offset into their buffers."""
    geometry = Geometry(
        dH, dW, padH, padW, dilationH, dilationW, group, deformable_group
    )
    grads = _backward(grad_output, input, weight, offset, None, None, geometry)
    grad_input.copy_(grads.input)
    grad_offset.copy_(grads.offset)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add ``scale`` times the weight's gradient to ``grad_weight``."""
    geometry = Geometry(
        dH, dW, padH, padW, dilationH, dilationW, group, deformable_group
    )
    # The gradient does not depend on the weight's values, only on its shape.
    weight = torch.zeros_like(grad_weight)
    grads = _backward(grad_output, input, weight, offset, None, None, geometry)
    grad_weight.add_(grads.weight.to(grad_weight.dtype), alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the modulated deformable convolution (v2) into ``output``."""
    geometry = Geometry(
        stride_h,
        stride_w,
        pad_h,
        pad_w,
        dilation_h,
        dilation_w,
        group,
        deformable_group,
    )
    used_bias = bias if with_bias else None
    output.copy_(_forward(input, weight, offset, mask, used_bias, geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the gradients of all five inputs into their buffers."""
    geometry = Geometry(
        stride_h,
        stride_w,
        pad_h,
        pad_w,
        dilation_h,
        dilation_w,
        group,
        deformable_group,
    )
    used_bias = bias if with_bias else None
    grads = _backward(grad_output, input, weight, offset, mask, used_bias, geometry)
    grad_input.copy_(grads.input)
    grad_weight.copy_(grads.weight)
    grad_offset.copy_(grads.offset)
    grad_mask.copy_(grads.mask)
    if with_bias:
        grad_bias.copy_(grads.bias)
