"""Non-maximum suppression of many groups of boxes in one call.

A group is what suppresses only within itself: one (image, level) of the proposals, one
(image, class) of the detections. The result is a mask over fixed slots, not a list of
survivors, so nothing after it depends on how many survived.
"""

from __future__ import annotations

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
        largest_group (int | None): No group holds more boxes, which bounds the work
            where the device is not asked; None: M.

    Returns:
        Tensor: True where the box is kept, bool, shape (M,).

    Example:
        >>> boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.], [0., 0., 9., 8.]])
        >>> scores = torch.tensor([.9, .8, .7])
        >>> grouped_nms(boxes, scores, torch.tensor([0, 0, 1]), 0.5)
        tensor([ True, False,  True])
    """
    run = cpu.grouped_nms if backend_of(boxes) == 'cpu' else reference.grouped_nms
    return run(boxes, scores, groups, iou_threshold, largest_group)


@grouped_nms.register_fake
def _grouped_nms_shape(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    iou_threshold: float,
    largest_group: int | None = None,
) -> Tensor:
    return torch.empty_like(groups, dtype=torch.bool)
