"""Features of regions of interest, each from its level of the pyramid.

Shapes: N images, L levels, K regions, C channels, (S, S) the output size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from mmfrcnn.modeling.roi_layer import read_roi_layer


@MODELS.register_module()
class PyramidRoIExtractor(BaseModule):
    """Pool each region from the pyramid level that fits its size.

    A region of area ``w h`` belongs to level ``floor(log2(sqrt(w h) / finest_scale))``
    of those given, clamped (Lin et al. 2017, equation 1, where the canonical 224 px at
    level 4 means ``finest_scale`` 56 at level 2). The pooling itself is
    :mod:`mmfrcnn.ops.roi_align`'s.

    Stands in for mmdet's ``SingleRoIExtractor``.

    Args:
        roi_layer (dict): ``type`` 'RoIAlign' (``output_size``, ``sampling_ratio`` 0 for
            as many samples as the region's size asks for, ``aligned`` True) or
            'RoIPool' (``output_size``).
        out_channels (int): Channels of the feature maps, C.
        featmap_strides (list[int]): Stride of each level used.
        finest_scale (float): Regions smaller than twice this, in pixels, belong to the
            first level.
        init_cfg (dict | None): Unused: there are no weights.
    """

    def __init__(
        self,
        roi_layer: dict,
        out_channels: int,
        featmap_strides: list[int],
        finest_scale: float = 56,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.pool = read_roi_layer(dict(roi_layer))
        self.out_channels = out_channels
        self.featmap_strides = list(featmap_strides)
        self.finest_scale = finest_scale

    @property
    def num_inputs(self) -> int:
        """Number of levels that regions are pooled from."""
        return len(self.featmap_strides)

    def map_roi_levels(self, rois: Tensor, num_levels: int) -> Tensor:
        """Return the level of each region, int64 in [0, num_levels), shape (K,)."""
        area = (rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])
        size = area.clamp(min=0).sqrt()
        level = torch.floor(torch.log2(size / self.finest_scale + 1e-6))
        return level.clamp(0, num_levels - 1).long()

    def forward(
        self,
        feats: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Pool the regions.

        Args:
            feats (Sequence[Tensor]): Feature maps, each (N, C, H_l, W_l); as many as
                ``num_inputs``.
            rois (Tensor): (image, x1, y1, x2, y2) in input pixels, shape (K, 5).
            roi_scale_factor (float | None): Enlarge regions about their centre by this
                before pooling (not before the choice of level).

        Returns:
            Tensor: Shape (K, C, S, S), of the feature maps' dtype.
        """
        levels = self.map_roi_levels(rois, len(feats))
        if roi_scale_factor is not None:
            rois = _enlarge(rois, roi_scale_factor)
        return self.pool(feats, rois, levels, self.featmap_strides)


def _enlarge(rois: Tensor, factor: float) -> Tensor:
    """Scale regions (K, 5) about their centres."""
    centre = (rois[:, 1:3] + rois[:, 3:5]) / 2
    half = (rois[:, 3:5] - rois[:, 1:3]) / 2 * factor
    return torch.cat([rois[:, :1], centre - half, centre + half], 1)
