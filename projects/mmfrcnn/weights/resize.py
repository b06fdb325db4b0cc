"""Images resized as torchvision's detectors do it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from mmdet.datasets.transforms import Resize
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TorchvisionResize(Resize):
    """mmdet's ``Resize`` with torchvision's interpolation and its rule for the size.

    Bilinear, in floating point and not rounded to whole grey levels: the image becomes
    float32. Sizes are rounded down. Give ``scale=(1333, 800)`` and ``keep_ratio=True``.
    """

    def _resize_img(self, results: dict) -> None:
        image = results.get('img')
        if image is None:
            return
        height, width = image.shape[:2]
        short, long = min(results['scale']), max(results['scale'])
        factor = min(short / min(height, width), long / max(height, width))
        size = (math.floor(height * factor), math.floor(width * factor))
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        planes = F.interpolate(planes, size, mode='bilinear', align_corners=False)
        results['img'] = planes[0].permute(1, 2, 0).contiguous().numpy()
        results['img_shape'] = size
        results['scale_factor'] = (size[1] / width, size[0] / height)
        results['keep_ratio'] = True
