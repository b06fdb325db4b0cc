"""Features of regions of interest, each from its level of the pyramid.

Shapes: N images, L levels, K regions, C channels, (S, S) the output size.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor
from torchvision.ops import roi_align, roi_pool

from mmfrcnn.errors import UserError, did_you_mean
from mmfrcnn.ops.gather_align import gather_align

# Where a region is moved on the levels that are not its own: outside every image, so
# that pooling finds nothing there, and without extent, so that it does not look long.
ELSEWHERE = -1e5


@MODELS.register_module()
class PyramidRoIExtractor(BaseModule):
    """Pool each region from the pyramid level that fits its size.

    A region of area ``w h`` belongs to level ``floor(log2(sqrt(w h) / finest_scale))``
    of those given, clamped (Lin et al. 2017, equation 1, where the canonical 224 px at
    level 4 means ``finest_scale`` 56 at level 2). On a GPU all levels see all regions,
    those of other levels moved out of the image: no region list depends on the data, so
    nothing waits for the device, and what is pooled elsewhere is zero. On a CPU
    RoIAlign is one weighted gather over all levels; see
    :mod:`mmfrcnn.ops.gather_align`.

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
        if feats[0].device.type == 'cpu' and self.pool.func is roi_align:
            features = [_full_precision(level) for level in feats]
            pooled = gather_align(
                features, rois, levels, self.featmap_strides, **self.pool.keywords
            )
            return pooled.to(feats[0].dtype)
        return self._pool_levels(feats, rois, levels)

    def _pool_levels(
        self, feats: Sequence[Tensor], rois: Tensor, levels: Tensor
    ) -> Tensor:
        """Pool all regions on all levels, those of other levels out of the image."""
        image = rois[:, :1]
        elsewhere = torch.full_like(rois[:, 1:], ELSEWHERE)
        pooled = None
        for level, features in enumerate(feats):
            mine = (levels == level)[:, None]
            moved = torch.cat([image, torch.where(mine, rois[:, 1:], elsewhere)], 1)
            part = self._pool_level(features, moved, level)
            pooled = part if pooled is None else pooled + part
        return pooled

    def _pool_level(self, features: Tensor, rois: Tensor, level: int) -> Tensor:
        scale = 1.0 / self.featmap_strides[level]
        full = _full_precision(features)
        pooled = self.pool(full, rois.to(full.dtype), spatial_scale=scale)
        return pooled.to(features.dtype)


def _full_precision(features: Tensor) -> Tensor:
    """Half-precision features in float32: positions in half would be whole pixels."""
    if features.dtype in (torch.float16, torch.bfloat16):
        return features.float()
    return features


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
        layer.setdefault('sampling_ratio', 0)
        layer.setdefault('aligned', True)
        # mmcv's keys for what is always so here: an average, as torchvision's.
        layer.pop('use_torchvision', None)
        if layer.get('pool_mode') == 'avg':
            del layer['pool_mode']
        allowed, function = {'output_size', 'sampling_ratio', 'aligned'}, roi_align
    elif kind == 'RoIPool':
        allowed, function = {'output_size'}, roi_pool
    else:
        near = did_you_mean(str(kind), ['RoIAlign', 'RoIPool'])
        raise UserError(
            f"PyramidRoIExtractor: roi_layer.type is '{kind}'; it pools with "
            f"'RoIAlign' or 'RoIPool'.{near} For other layers use mmdet's "
            "'SingleRoIExtractor'."
        )
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
