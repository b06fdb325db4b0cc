"""Non-maximum suppression: hard, soft, and with the suppressed boxes listed.

Boxes are (N, 4) xyxy. With ``offset`` 1 a box from x1 to x2 is x2 - x1 + 1 wide.
"""

from __future__ import annotations

import numpy as np
import torch
import torchvision
from torch import Tensor

from mmfrcnn.compat.ops.precision import at_least_float32

Array = np.ndarray


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Keep the best box and drop those that overlap it by more than the threshold.

    Args:
        boxes (Tensor): (N, 4) xyxy.
        scores (Tensor): (N,).
        iou_threshold (float): A box is dropped when its IoU with a kept one is above.
        offset (int): 0 or 1, added to widths and heights.

    Returns:
        Tensor: (K,) int64 indices of the kept boxes, best score first.
    """
    boxes, scores = at_least_float32(boxes), at_least_float32(scores)
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torchvision.ops.nms(boxes, scores.to(boxes.dtype), iou_threshold)


def _iou(box: Array, others: Array, offset: int) -> Array:
    """Return the IoU of one box (4,) with others (N, 4), NaN where both are empty."""
    top_left = np.maximum(box[:2], others[:, :2])
    bottom_right = np.minimum(box[2:], others[:, 2:])
    inter = (bottom_right - top_left + offset).clip(min=0).prod(axis=1)
    area = (box[2:] - box[:2] + offset).prod()
    areas = (others[:, 2:] - others[:, :2] + offset).prod(axis=1)
    with np.errstate(divide='ignore', invalid='ignore'):
        return inter / (area + areas - inter)


def _decay(iou: Array, iou_threshold: float, sigma: float, method: int) -> Array:
    """Return the factor (N,) by which soft-NMS multiplies each score."""
    if method == 2:  # gaussian
        return np.exp(-(iou**2) / iou.dtype.type(sigma))
    lowered = np.zeros_like(iou) if method == 0 else 1 - iou  # naive or linear
    return np.where(iou >= iou.dtype.type(iou_threshold), lowered, 1)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the scores of overlapping boxes instead of dropping them.

    Args:
        boxes (Tensor): (N, 4) xyxy on CPU.
        scores (Tensor): (N,) on CPU.
        dets (Tensor): (N, 5) buffer; its first K rows receive the kept boxes with
            their lowered scores, in the order they were chosen.
        iou_threshold (float): Overlap from which naive and linear lower a score.
        sigma (float): Width of the gaussian.
        min_score (float): A box whose lowered score falls below is dropped.
        method (int): 0 naive, 1 linear, 2 gaussian.
        offset (int): 0 or 1, added to widths and heights.

    Returns:
        Tensor: (K,) int64 indices of the kept boxes, in the order of ``dets``.
    """
    rows = torch.cat([at_least_float32(boxes), scores[:, None]], dim=1).numpy()
    rows, index = rows.copy(), np.arange(len(rows))
    kept, end = 0, len(rows)
    while kept < end:
        best = kept + rows[kept:end, 4].argmax()
        ahead, behind = np.array([kept, best]), np.array([best, kept])
        rows[ahead], index[ahead] = rows[behind], index[behind]
        rest = slice(kept + 1, end)
        iou = _iou(rows[kept, :4], rows[rest, :4], offset)
        rows[rest, 4] *= _decay(iou, iou_threshold, sigma, method)
        alive = ~(rows[rest, 4] < min_score)
        # mmcv fills the place of a dropped box with the last one alive, which decides
        # who comes first among equal scores.
        num_alive = int(alive.sum())
        holes = kept + 1 + np.flatnonzero(~alive[:num_alive])
        movers = kept + 1 + num_alive + np.flatnonzero(alive[num_alive:])[::-1]
        rows[holes], index[holes] = rows[movers], index[movers]
        kept, end = kept + 1, kept + 1 + num_alive
    dets[:end] = torch.from_numpy(rows[:end]).to(dets)
    return torch.from_numpy(index[:end])


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group every dropped box with the kept box that dropped it.

    Args:
        dets (Tensor): (N, 5) xyxy and score, on CPU.
        iou_threshold (float): A box is dropped when its IoU with a kept one reaches it.

    Returns:
        list[list[int]]: One list for each kept box, best score first: the index of the
        kept box, then those of the boxes it dropped, best score first.
    """
    rows = at_least_float32(dets)
    remaining = rows[:, 4].sort(descending=True, stable=True).indices.numpy()
    boxes = rows[:, :4].numpy()
    groups = []
    while len(remaining):
        best, remaining = remaining[0], remaining[1:]
        iou = _iou(boxes[best], boxes[remaining], offset=0)
        dropped = iou >= iou.dtype.type(iou_threshold)
        groups.append([int(best), *remaining[dropped].tolist()])
        remaining = remaining[~dropped]
    return groups
