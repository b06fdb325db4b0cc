"""The one place that reads mmdet's ``roi_layer=dict(...)``."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import Tensor

from mmfrcnn.errors import UserError, did_you_mean
from mmfrcnn.ops.roi_align import pyramid_roi_align, pyramid_roi_pool

# By ``roi_layer.type``: what pools, and the keys that it takes.
POOLINGS: dict[str, tuple[Callable[..., Tensor], set[str]]] = {
    'RoIAlign': (pyramid_roi_align, {'output_size', 'sampling_ratio', 'aligned'}),
    'RoIPool': (pyramid_roi_pool, {'output_size'}),
}


def read_roi_layer(layer: dict) -> functools.partial[Tensor]:
    """Return what pools ``(feats, rois, levels, strides)`` as a config says.

    Args:
        layer (dict): ``type`` 'RoIAlign' (``output_size``, ``sampling_ratio``,
            ``aligned``) or 'RoIPool' (``output_size``).

    Raises:
        UserError: For any other type or key.
    """
    layer = dict(layer)
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
