"""What the losses of both stages share: sampled slots, of which some are empty."""

from __future__ import annotations

import torch
from mmdet.models.task_modules import BaseBBoxCoder
from torch import Tensor, nn

from mmfrcnn.structures.sample import Sample


def box_loss(
    loss: nn.Module,
    coder: BaseBBoxCoder,
    decoded: bool,
    boxes: Tensor,
    deltas: Tensor,
    targets: Tensor,
    positive: Tensor,
    samples: Tensor,
) -> Tensor:
    """Sum a loss over the positives and divide by the number of samples.

    Weights of 0 and 1 given to mmdet's losses would do the same, but the losses look
    whether any weight is positive, which makes the host wait.

    Args:
        loss (nn.Module): A box loss of mmdet's interface.
        coder (BaseBBoxCoder): Between boxes and deltas.
        decoded (bool): Whether boxes are compared (for IoU losses), else deltas.
        boxes (Tensor): xyxy, shape (R, 4).
        deltas (Tensor): Predicted, shape (R, 4).
        targets (Tensor): xyxy, shape (R, 4); of no matter where not positive.
        positive (Tensor): bool, shape (R,).
        samples (Tensor): What the sum is divided by, shape ().

    Returns:
        Tensor: Shape ().
    """
    # Slots without a ground truth get a harmless target.
    own = positive[:, None]
    if decoded:
        predicted, goal = coder.decode(boxes, deltas), torch.where(own, targets, boxes)
    else:
        predicted = deltas
        goal = torch.where(own, coder.encode(boxes, targets), 0.0)
    each = loss(predicted, goal, reduction_override='none')  # (R, 4) or (R,)
    if not len(predicted):  # for which mmdet's losses return a sum, 0
        return each.sum()
    each = each.view(len(predicted), -1).sum(1)
    return each.masked_fill(~positive, 0).sum() / samples


def sample_weights(sample: Sample, pos_weight: float) -> Tensor:
    """Return what each slot counts in the classification loss, float32, shape (N, K).

    Args:
        sample (Sample): The slots; empty ones count nothing.
        pos_weight (float): What a positive counts; not positive: 1, as a negative.
    """
    weight = sample.valid.float()
    if pos_weight > 0:
        weight = torch.where(sample.positive, pos_weight, weight)
    return weight
