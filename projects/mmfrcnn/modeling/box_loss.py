"""The box loss of sampled slots, positive or not."""

from __future__ import annotations

from torch import Tensor, nn


def positive_box_loss(
    loss: nn.Module,
    predicted: Tensor,
    targets: Tensor,
    positive: Tensor,
    samples: Tensor,
) -> Tensor:
    """Sum a loss over the positives and divide by the number of samples.

    Weights of 0 and 1 given to mmdet's losses would do the same, but the losses look
    whether any weight is positive, which makes the host wait.

    Args:
        loss (nn.Module): A box loss of mmdet's interface.
        predicted (Tensor): Deltas or boxes, shape (R, 4).
        targets (Tensor): Likewise.
        positive (Tensor): bool, shape (R,).
        samples (Tensor): What the sum is divided by, shape ().

    Returns:
        Tensor: Shape ().
    """
    each = loss(predicted, targets, reduction_override='none')  # (R, 4) or (R,)
    if not len(predicted):  # for which mmdet's losses return a sum, 0
        return each.sum()
    each = each.view(len(predicted), -1).sum(1)
    return each.masked_fill(~positive, 0).sum() / samples
