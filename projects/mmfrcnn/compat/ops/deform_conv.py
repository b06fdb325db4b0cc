"""Deformable convolution, without (v1) and with (v2) a modulation mask.

Shapes: input (N, C, H, W), weight (O, C / groups, kh, kw), offset
(N, deform_groups * kh * kw * 2, H', W') as (y, x) pairs, mask
(N, deform_groups * kh * kw, H', W'), output (N, O, H', W').
The argument names are those of mmcv's compiled ops; the buffers that they pass for
scratch space are not needed.

Two habits of mmcv's kernels are kept. v2 reads offsets and masks of an image as flat
memory, so that those of a larger map serve (mmdet's DyHead relies on it). A sample
point at exactly -1 lies outside and gives its offset no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmfrcnn.compat.ops.precision import at_least_float32

Geometry = tuple[int, int, int, int, int, int, int, int]


def _v1_geometry(names: dict[str, Any]) -> Geometry:
    """Return stride, padding, dilation (each y, x), groups and deform groups."""
    keys = 'dH dW padH padW dilationH dilationW group deformable_group'
    return tuple(names[key] for key in keys.split())


def _v2_geometry(names: dict[str, Any]) -> Geometry:
    """Return the same from v2's names."""
    keys = 'stride_h stride_w pad_h pad_w dilation_h dilation_w group deformable_group'
    return tuple(names[key] for key in keys.split())


def _forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    tensors = [at_least_float32(tensor) for tensor in (input, weight, offset)]
    return torch.ops.torchvision.deform_conv2d(
        *tensors, *_mask_and_bias(tensors, mask, bias), *geometry, mask is not None
    )


def _backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: Geometry,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of input, weight, offset, mask and bias."""
    tensors = [at_least_float32(tensor) for tensor in (input, weight, offset)]
    grads = torch.ops.torchvision._deform_conv2d_backward(
        at_least_float32(grad_output).to(tensors[0]).contiguous(),
        *tensors,
        *_mask_and_bias(tensors, mask, bias),
        *geometry,
        mask is not None,
    )
    inside = _inside(tensors[2], weight.shape[2:], geometry)
    return grads[0], grads[1], grads[2] * inside, grads[3], grads[4]


def _inside(offset: Tensor, kernel: torch.Size, geometry: Geometry) -> Tensor:
    """Return whether each sample point lies beyond -1 along y and x, as ``offset``."""
    images, _, *size = offset.shape
    axes = []
    for axis, (cells, taps) in enumerate(zip(size, kernel, strict=True)):
        stride, padding, dilation = (
            geometry[axis],
            geometry[2 + axis],
            geometry[4 + axis],
        )
        base = torch.arange(cells, device=offset.device) * stride - padding
        tap = torch.arange(taps, device=offset.device) * dilation
        axes.append(tap[:, None] + base)  # (kh, H') and (kw, W')
    points = offset.reshape(images, geometry[7], *kernel, 2, *size)
    y = points[..., 0, :, :] + axes[0][:, None, :, None]  # (N, D, kh, kw, H', W')
    x = points[..., 1, :, :] + axes[1][:, None, :]
    inside = (y > -1) & (x > -1)
    return inside[..., None, :, :].expand_as(points).reshape(offset.shape)


def _of_size(offset: Tensor, mask: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """Read the maps of each image from flat memory, at the size of ``output``.

    Raises:
        ValueError: If they are of a smaller map; mmcv's kernels would read beyond them.
    """
    size = output.shape[2:]

    def read(name: str, maps: Tensor) -> Tensor:
        if maps.shape[2:].numel() < size.numel():
            raise ValueError(
                f'modulated_deform_conv2d: {name} of shape {tuple(maps.shape)} is too '
                f'small for an output of {tuple(size)} (height, width)'
            )
        need = maps.shape[1] * size.numel()
        return maps.flatten(1)[:, :need].reshape(*maps.shape[:2], *size)

    return read('offset', offset), read('mask', mask)


def _copy_flat(buffer: Tensor, grad: Tensor) -> None:
    """Write a gradient into the part of ``buffer`` that :func:`_of_size` has read."""
    flat = grad.flatten(1)
    rest = buffer.shape[1:].numel() - flat.shape[1]
    buffer.copy_(torch.nn.functional.pad(flat, (0, rest)).view_as(buffer))


def _mask_and_bias(
    tensors: list[Tensor], mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return both, empty or zero where torchvision wants a tensor and there is none."""
    input, weight, _ = tensors
    if mask is None:
        mask = input.new_zeros(len(input), 1)
    if bias is None:
        bias = input.new_zeros(len(weight))
    return at_least_float32(mask), at_least_float32(bias)


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    *buffers: Tensor,
    **names: Any,
) -> None:
    """Write the convolution (v1) into ``output``."""
    output.copy_(_forward(input, weight, offset, None, None, _v1_geometry(names)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    *buffers: Tensor,
    **names: Any,
) -> None:
    """Write the gradients (v1) of input and offset into their buffers."""
    grads = _backward(
        grad_output, input, weight, offset, None, None, _v1_geometry(names)
    )
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    *buffers: Tensor,
    **names: Any,
) -> None:
    """Add ``scale`` times the gradient (v1) of the weight to its buffer."""
    # The weight's own values do not enter its gradient.
    grads = _backward(
        grad_output, input, grad_weight, offset, None, None, _v1_geometry(names)
    )
    grad_weight.add_(grads[1].to(grad_weight.dtype), alpha=names['scale'])


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    **names: Any,
) -> None:
    """Write the convolution (v2) into ``output``."""
    given = bias if names['with_bias'] else None
    geometry = _v2_geometry(names)
    offset, mask = _of_size(offset, mask, output)
    output.copy_(_forward(input, weight, offset, mask, given, geometry))


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
    **names: Any,
) -> None:
    """Write the gradients (v2) into their buffers."""
    given = bias if names['with_bias'] else None
    geometry = _v2_geometry(names)
    offset, mask = _of_size(offset, mask, grad_output)
    grads = _backward(grad_output, input, weight, offset, mask, given, geometry)
    grad_input.copy_(grads[0])
    grad_weight.copy_(grads[1])
    _copy_flat(grad_offset, grads[2])
    _copy_flat(grad_mask, grads[3])
    if names['with_bias']:
        grad_bias.copy_(grads[4])
