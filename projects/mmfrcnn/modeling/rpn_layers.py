"""The network of the RPN: a 3x3 convolution, objectness and deltas of every anchor.

Shapes: N images, L levels, A anchors a cell, C objectness channels (1 sigmoid, 2
softmax).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn


class RPNLayers(BaseModule):
    """Layers with the names that they have in mmdet's checkpoints.

    Args:
        in_channels (int): Channels of the feature maps.
        feat_channels (int): Channels of the 3x3 convolution.
        num_convs (int): Number of 3x3 convolutions.
        cls_channels (int): Outputs a cell for objectness, A * C.
        box_channels (int): Outputs a cell for deltas, A * 4.
        init_cfg (dict | list[dict] | None): Initial weights.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        num_convs: int,
        cls_channels: int,
        box_channels: int,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.in_channels = in_channels
        self.feat_channels = feat_channels
        self.rpn_conv: nn.Module
        if num_convs == 1:
            self.rpn_conv = nn.Conv2d(in_channels, feat_channels, 3, padding=1)
        else:
            widths = [in_channels] + [feat_channels] * num_convs
            self.rpn_conv = nn.Sequential(
                *(
                    ConvModule(wide, out, 3, padding=1, inplace=False)
                    for wide, out in pairwise(widths)
                )
            )
        self.rpn_cls = nn.Conv2d(feat_channels, cls_channels, 1)
        self.rpn_reg = nn.Conv2d(feat_channels, box_channels, 1)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Score and regress the anchors of every level.

        Args:
            x (Sequence[Tensor]): L feature maps, each (N, in_channels, H_l, W_l).

        Returns:
            tuple: L objectness maps (N, A * C, H_l, W_l) and L delta maps
            (N, A * 4, H_l, W_l).
        """
        hidden = [F.relu(self.rpn_conv(level)) for level in x]
        return [self.rpn_cls(h) for h in hidden], [self.rpn_reg(h) for h in hidden]
