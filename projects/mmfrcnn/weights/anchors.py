"""Anchors where torchvision's detectors have them."""

from __future__ import annotations

import torch
from mmdet.models.task_modules import AnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class TorchvisionAnchorGenerator(AnchorGenerator):
    """mmdet's anchors, but for two habits of torchvision's.

    The corners of the anchors of a cell are rounded to whole pixels (halves to the even
    one). And the step between cells is not the stride: it is the padded image's size
    divided by the map's, rounded down, which differs where the map's size was rounded
    up: for 800 px, the 13 rows of stride 64 are 61 px apart.

    The padded image's size is that of the first map times its stride, which must divide
    it. Arguments are those of mmdet's ``AnchorGenerator``.
    """

    def gen_base_anchors(self) -> list[Tensor]:
        """Return the anchors of the first cell of each level, (A, 4) each."""
        return [anchors.round() for anchors in super().gen_base_anchors()]

    def grid_priors(
        self,
        featmap_sizes: list[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cuda',
    ) -> list[Tensor]:
        """Return the anchors of each level.

        Args:
            featmap_sizes (list[tuple[int, int]]): (height, width) of each map.
            dtype (torch.dtype): Of the result.
            device (torch.device | str): Of the result.

        Returns:
            list[Tensor]: xyxy in input pixels, (H * W * A, 4) a level; row by row,
            column by column, anchor by anchor.
        """
        step_x, step_y = self.strides[0]
        padded_height = featmap_sizes[0][0] * step_y
        padded_width = featmap_sizes[0][1] * step_x
        levels = []
        for (height, width), base in zip(featmap_sizes, self.base_anchors, strict=True):
            ys = torch.arange(height, device=device) * (padded_height // height)
            xs = torch.arange(width, device=device) * (padded_width // width)
            y, x = torch.meshgrid(ys, xs, indexing='ij')  # (H, W)
            shifts = torch.stack([x, y, x, y], -1).view(-1, 1, 4).to(dtype)
            levels.append((shifts + base.to(device, dtype)).view(-1, 4))
        return levels
