"""Features of regions of interest, each from its level of the pyramid.

Shapes: N images, L levels, K regions, C channels, (S, S) the output size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from mmfrcnn.errors import UserError, did_you_mean
from mmfrcnn.ops.roi_align import pyramid_roi_align, pyramid_roi_pool

# By ``roi_layer.type``: what pools, and the keys that it takes.
POOLINGS: dict[str, tuple[Callable[..., Tensor], set[str]]] = {
    'RoIAlign': (pyramid_roi_align, {'output_size', 'sampling_ratio', 'aligned'}),
    'RoIPool': (pyramid_roi_pool, {'output_size'}),
}


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
        self.pool = _pooling(dict(roi_layer))
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


def _pooling(layer: dict) -> functools.partial[Tensor]:
    """Build the pooling function of a ``roi_layer`` config."""
    kind = layer.pop('type', None)
    size = layer.setdefault('output_size', 7)
    if not isinstance(size, int):
        if len(set(size)) != 1:
            raise UserError(
                'PyramidRoIExtractor pools to squares: roi_layer.output_size must be '
                f'one number, not {tuple(size)}.'
            )
        layer['output_size'] = size[0]
    if kind == 'RoIAlign':
        # mmcv's keys for what is always so here: an average, as torchvision's.
        layer.pop('use_torchvision', None)
        if layer.get('pool_mode') == 'avg':
            del layer['pool_mode']
    if kind not in POOLINGS:
        near = did_you_mean(str(kind), POOLINGS)
        raise UserError(
            f"PyramidRoIExtractor: roi_layer.type is '{kind}'; it pools with "
            f"'RoIAlign' or 'RoIPool'.{near} For other layers use mmdet's "
            "'SingleRoIExtractor'."
        )
    function, allowed = POOLINGS[kind]
    for key in layer:
        if key not in allowed:
            raise UserError(
                f"PyramidRoIExtractor: roi_layer has no key '{key}' for {kind}; it "
                f'takes {sorted(allowed)}.{did_you_mean(key, allowed)}'
            )
    return functools.partial(function, **layer)


def _enlarge(rois: Tensor, factor: float) -> Tensor:
    """Scale regions (K, 5) about their centres."""
    centre = (rois[:, 1:3] + rois[:, 3:5]) / 2
    half = (rois[:, 3:5] - rois[:, 1:3]) / 2 * factor
    return torch.cat([rois[:, :1], centre - half, centre + half], 1)
