"""A RoI extractor that also looks around each region.

Shapes: K regions, C channels, (S, S) the output size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmfrcnn.modeling.roi_extractor import PyramidRoIExtractor


@MODELS.register_module()
class ContextRoIExtractor(PyramidRoIExtractor):
    """Pool each region as it is and enlarged, and mix both with a 1x1 convolution.

    What surrounds an object tells about it (Gidaris & Komodakis 2015). The mix starts
    as the region alone, so a trained detector can be fine-tuned with this part: at
    first it gives the same detections.

    Args:
        context_scale (float): Sides of the enlarged region, relative to the region's.
        **kwargs: Arguments of :class:`~mmfrcnn.modeling.PyramidRoIExtractor`.
    """

    def __init__(self, *, context_scale: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.context_scale = context_scale
        channels = self.out_channels
        self.mix = nn.Conv2d(2 * channels, channels, kernel_size=1)
        region, context = torch.eye(channels), torch.zeros(channels, channels)
        self.mix.weight.data = torch.cat([region, context], 1)[:, :, None, None]
        nn.init.zeros_(self.mix.bias)

    def forward(
        self,
        feats: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Pool the regions and their surroundings.

        Args:
            feats (Sequence[Tensor]): Feature maps, each (N, C, H_l, W_l).
            rois (Tensor): (image, x1, y1, x2, y2) in input pixels, shape (K, 5).
            roi_scale_factor (float | None): Enlarge the regions themselves by this.

        Returns:
            Tensor: Shape (K, C, S, S).
        """
        region = super().forward(feats, rois, roi_scale_factor)
        scale = self.context_scale * (roi_scale_factor or 1.0)
        context = super().forward(feats, rois, scale)
        return self.mix(torch.cat([region, context], 1))
