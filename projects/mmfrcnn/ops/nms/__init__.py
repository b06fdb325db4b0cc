"""Non-maximum suppression of many groups of boxes in one call.

A group is what suppresses only within itself: one (image, level) of the proposals, one
(image, class) of the detections. The result is a mask over fixed slots, not a list of
survivors, so nothing after it depends on how many survived.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmfrcnn.ops.backend import backend_of
from mmfrcnn.ops.nms import cpu, reference


@torch.library.custom_op('mmfrcnn::grouped_nms', mutates_args=())
def grouped_nms(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    iou_threshold: float,
    largest_group: int | None = None,
    num_groups: int | None = None,
) -> Tensor:
    """Suppress each box that overlaps a better one of its group too much.

    Greedy, as in Girshick et al. (2014), section 2.2: in order of falling score, of
    equals the earlier first, a box is kept unless its IoU with a kept box of the same
    group exceeds the threshold. Whatever type the boxes have, the IoU is float64's.

    Args:
        boxes (Tensor): Boxes, xyxy, float, shape (M, 4).
        scores (Tensor): Scores, shape (M,).
        groups (Tensor): Group of each box, int64 >= 0, shape (M,).
        iou_threshold (float): Suppress above this IoU.
        largest_group (int | None): No group holds more boxes; None: M. Bounds are for
            devices that are not asked how many there are.
        num_groups (int | None): There are no more groups; None: M.

    Returns:
        Tensor: True where the box is kept, bool, shape (M,).

    Example:
        >>> boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.], [0., 0., 9., 8.]])
        >>> scores = torch.tensor([.9, .8, .7])
        >>> grouped_nms(boxes, scores, torch.tensor([0, 0, 1]), 0.5)
        tensor([ True, False,  True])
    """
    run = _implementation(boxes)
    return run(boxes, scores, groups, iou_threshold, largest_group, num_groups)


def _implementation(boxes: Tensor) -> Callable[..., Tensor]:
    backend = backend_of(boxes, self_check)
    if backend == 'cuda':
        # Triton is imported where there is a card to run it on.
        from mmfrcnn.ops.nms import cuda

        return cuda.grouped_nms
    return cpu.grouped_nms if backend == 'cpu' else reference.grouped_nms


def self_check(device: torch.device) -> None:
    """Raise where the kernel on a device decides unlike the plain operators."""
    from mmfrcnn.ops.nms import cuda

    cuda.self_check(device)


@grouped_nms.register_fake
def _grouped_nms_shape(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    iou_threshold: float,
    largest_group: int | None = None,
    num_groups: int | None = None,
) -> Tensor:
    return torch.empty_like(groups, dtype=torch.bool)
