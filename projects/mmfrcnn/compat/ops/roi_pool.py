"""RoIPool as Fast R-CNN defines it: torchvision's, which rounds to whole cells.

Compiled mmcv's own kernel takes one pixel more to the right and below and does not
round; the two differ by a cell at the borders of a region.

Shapes: input (N, C, H, W), rois (K, 5) as (image, x1, y1, x2, y2), output (K, C, P, Q).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.compat.ops.precision import at_least_float32


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the maxima and the places where they were found."""
    full = at_least_float32(input)
    best, place = torch.ops.torchvision.roi_pool(
        full, rois.to(full.dtype), spatial_scale, pooled_height, pooled_width
    )
    output.copy_(best)
    argmax.copy_(place)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the gradient of the input."""
    full = at_least_float32(grad_output).contiguous()
    gradient = torch.ops.torchvision._roi_pool_backward(
        full,
        rois.to(full.dtype),
        argmax,
        spatial_scale,
        pooled_height,
        pooled_width,
        *grad_input.shape,
    )
    grad_input.copy_(gradient)
