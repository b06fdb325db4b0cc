"""Pictures of what a network is fed: batches as they come out of the preprocessor.

Only the normalisation is undone; padding, and whatever else was done to the images,
stays to be seen.
"""

from __future__ import annotations

from typing import Any

import mmcv
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.data.class_names import innermost
from mmfrcnn.visualization.painter import Painter

IGNORED_COLOUR = (150, 150, 150)
BORDER_COLOUR = (255, 200, 0)
PICTURE_WIDTH = 640
"""Smaller images are enlarged by whole factors to about this, so that names fit."""
THUMBNAIL = (320, 240)
COLUMNS = 4


class FedImagePainter:
    """Draws what came out of a data preprocessor.

    Args:
        preprocessor (Any): mmdet's `DetDataPreprocessor`, or one like it.
        metainfo (dict): ``classes`` and, perhaps, ``palette`` of the data set.
    """

    def __init__(self, preprocessor: Any, metainfo: dict[str, Any]) -> None:
        self.mean = getattr(preprocessor, 'mean', torch.zeros(3, 1, 1)).cpu()
        self.std = getattr(preprocessor, 'std', torch.ones(3, 1, 1)).cpu()
        self.is_rgb = getattr(preprocessor, '_channel_conversion', False)
        palette = metainfo.get('palette', 'random')
        self.painter = Painter(metainfo['classes'], palette)

    def image(self, inputs: Tensor) -> np.ndarray:
        """Undo the normalisation: (3, H, W) float to RGB uint8 (H, W, 3)."""
        pixels = (inputs * self.std + self.mean).round().clamp(0, 255).byte()
        pixels = pixels if self.is_rgb else pixels.flip(0)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())

    def draw(
        self, inputs: Tensor, sample: DetDataSample, in_original_frame: bool
    ) -> np.ndarray:
        """Return the RGB picture of one image of a batch, padding included.

        Args:
            inputs (Tensor): The image as the network gets it, on the CPU, (3, H, W).
            sample (DetDataSample): Its boxes, xyxy.
            in_original_frame (bool): Whether the boxes are those of the image before
                it was resized, as in most test pipelines.
        """
        painter = self.painter
        painter.start(self.image(inputs), max(1, PICTURE_WIDTH // inputs.shape[2]))
        scale = torch.ones(4)
        if in_original_frame:
            scale = torch.tensor(sample.scale_factor).repeat(2)
        height, width = sample.img_shape[:2]
        if (height, width) != tuple(inputs.shape[1:]):
            painter.outline(torch.tensor([[0, 0, width, height]]), [BORDER_COLOUR])
        if 'ignored_instances' in sample:
            ignored = plain_boxes(sample.ignored_instances) * scale
            colours, names = [IGNORED_COLOUR] * len(ignored), ['ignored'] * len(ignored)
            painter.outline(ignored, colours, names, '--')
        objects = plain_boxes(sample.gt_instances) * scale
        labels = sample.gt_instances.labels
        painter.objects(InstanceData(bboxes=objects, labels=labels))
        return painter.picture()


def plain_boxes(instances: Any) -> Tensor:
    """Return xyxy boxes as a plain tensor, shape (G, 4)."""
    return torch.as_tensor(
        getattr(instances.bboxes, 'tensor', instances.bboxes)
    ).float()


def thumbnail(picture: np.ndarray, size: tuple[int, int] = THUMBNAIL) -> np.ndarray:
    """Fit a picture into a white tile of a size (width, height)."""
    width, height = size
    small = mmcv.imrescale(picture, (height - 4, width - 4))
    return mmcv.impad(small, shape=(height, width), pad_val=(255,) * 3)


def contact_sheet(tiles: list[np.ndarray], columns: int = COLUMNS) -> np.ndarray:
    """Put tiles of one size (H, W, 3) into rows of some, white where none is."""
    columns = min(columns, len(tiles))
    blank = np.full_like(tiles[0], 255)
    tiles = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def boxes_stay_original(dataset: dict) -> bool:
    """Whether the pipeline loads boxes after resizing, so that they aren't resized."""
    pipeline = innermost(dataset).get('pipeline', [])
    names = [str(transform['type']) for transform in pipeline]
    resized = [place for place, name in enumerate(names) if 'Resize' in name]
    loaded = [place for place, name in enumerate(names) if 'Annotations' in name]
    return bool(resized and loaded) and loaded[0] > resized[0]
