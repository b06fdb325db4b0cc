"""The ops of compiled mmcv that torchvision and plain torch serve.

Every function here has the name, the arguments and the in-place output buffers of the
op in mmcv's compiled module, as ``mmcv.ops`` calls it; mmcv's kernels define the
result. Half-precision inputs are computed in float32 and cast back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmfrcnn.compat.ops.bbox_overlaps import bbox_overlaps
from mmfrcnn.compat.ops.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from mmfrcnn.compat.ops.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
)
from mmfrcnn.compat.ops.info import get_compiler_version, get_compiling_cuda_version
from mmfrcnn.compat.ops.nms import nms, nms_match, softnms
from mmfrcnn.compat.ops.roi_align import roi_align_backward, roi_align_forward
from mmfrcnn.compat.ops.roi_pool import roi_pool_backward, roi_pool_forward

_OPS: tuple[Callable[..., Any], ...] = (
    bbox_overlaps,
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    get_compiler_version,
    get_compiling_cuda_version,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
    nms,
    nms_match,
    roi_align_backward,
    roi_align_forward,
    roi_pool_backward,
    roi_pool_forward,
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softnms,
)

SERVED: dict[str, Callable[..., Any]] = {op.__name__: op for op in _OPS}
