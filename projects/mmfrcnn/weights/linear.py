"""A classifier that knows more classes than the data has."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LinearWithUnusedClasses(nn.Linear):
    """Scores of C classes and the background, of which some rows count as background.

    torchvision's COCO detectors classify into the 90 numbers that COCO gives out, ten
    of which name nothing. Here those ten and the background are one score, the
    logarithm of the sum of their exponentials: after the softmax, the probabilities of
    the other classes are exactly what they were, and labels are those of the data set.

    For ``cls_predictor_cfg`` of mmdet's box heads.

    Args:
        in_features (int): Channels of the features.
        out_features (int): C + 1; the box head gives it.
        num_unused (int): Rows between the classes and the background, U.
        bias (bool): Whether there is a bias.
    """

    def __init__(
        self, in_features: int, out_features: int, num_unused: int, bias: bool = True
    ) -> None:
        super().__init__(in_features, out_features + num_unused, bias=bias)
        self.num_classes = out_features - 1

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (K, C + 1) of features (K, in_features)."""
        logits = super().forward(features)  # (K, C + U + 1)
        background = logits[:, self.num_classes :].logsumexp(1, keepdim=True)
        return torch.cat([logits[:, : self.num_classes], background], 1)
