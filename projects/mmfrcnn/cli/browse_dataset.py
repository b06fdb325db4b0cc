"""``tools/browse_dataset.py``: pictures of what the network is fed.

Images come from the data set and the data preprocessor as in training or testing, in
batches, so that they are padded; then only the normalisation is undone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmengine.structures import InstanceData
from mmengine.utils import ProgressBar
from torch import Tensor

from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.cli.config import load_config
from mmfrcnn.cli.outputs import check_folder, mark_folder
from mmfrcnn.cli.runtime import explained
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn.errors import UserError
from mmfrcnn.visualization.painter import Painter

IGNORED_COLOUR = (150, 150, 150)
BORDER_COLOUR = (255, 200, 0)
PICTURE_WIDTH = 640
"""Smaller images are enlarged by whole factors to about this, so that names fit."""
THUMBNAIL = (320, 240)
COLUMNS = 4


def run(args: argparse.Namespace) -> None:
    """Browse as the command line says."""
    out_dir = Path(args.out_dir)
    check_folder('--out-dir', out_dir)
    config = load_config(args.config, args.cfg_options)
    check_registered(config)
    resolve_classes(config)
    loader = config.get(f'{args.split}_dataloader')
    if loader is None:
        raise UserError(f'{args.config} has no {args.split}_dataloader')
    if args.number < 1:
        raise UserError('--number must be at least 1')
    init_default_scope(config.get('default_scope', 'mmdet'))
    set_random_seed(args.seed)
    with explained(config):
        dataset = DATASETS.build(loader.dataset)
    preprocessor = MODELS.build(
        config.get('data_preprocessor') or config.model.data_preprocessor
    )
    mark_folder(out_dir)
    painter = FedImagePainter(preprocessor, dataset.metainfo)
    in_original_frame = args.split != 'train' and _boxes_stay_original(loader.dataset)

    chosen = torch.randperm(len(dataset))[: args.number].tolist()
    batch_size = loader.get('batch_size') or 1
    progress = ProgressBar(len(chosen))
    thumbnails = []
    for start in range(0, len(chosen), batch_size):
        indices = chosen[start : start + batch_size]
        with explained(config):
            batch = pseudo_collate([dataset[index] for index in indices])
        fed = preprocessor(batch, training=args.split == 'train')
        for place, sample in enumerate(fed['data_samples']):
            picture = painter.draw(fed['inputs'][place], sample, in_original_frame)
            name = f'{start + place:04d}_{Path(sample.img_path).stem}.png'
            mmcv.imwrite(mmcv.rgb2bgr(picture), str(out_dir / name))
            thumbnails.append(_thumbnail(picture))
        progress.update(len(indices))
    print()
    sheet = contact_sheet(thumbnails)
    mmcv.imwrite(mmcv.rgb2bgr(sheet), str(out_dir / 'overview.png'))
    print(f'{len(chosen)} of {len(dataset)} images: {out_dir}, overview.png first')
    if args.show:
        mmcv.imshow(mmcv.rgb2bgr(sheet), args.config)


def _boxes_stay_original(dataset: Config) -> bool:
    """Whether the pipeline loads boxes after resizing, so that they aren't resized."""
    while 'dataset' in dataset:
        dataset = dataset.dataset
    names = [str(transform.type) for transform in dataset.get('pipeline', [])]
    resized = [place for place, name in enumerate(names) if 'Resize' in name]
    loaded = [place for place, name in enumerate(names) if 'Annotations' in name]
    return bool(resized and loaded) and loaded[0] > resized[0]


class FedImagePainter:
    """Draws what came out of a data preprocessor.

    Args:
        preprocessor (Any): mmdet's `DetDataPreprocessor`, or one like it.
        metainfo (dict): ``classes`` and, perhaps, ``palette`` of the data set.
    """

    def __init__(self, preprocessor: Any, metainfo: dict[str, Any]) -> None:
        self.mean = getattr(preprocessor, 'mean', torch.zeros(3, 1, 1))
        self.std = getattr(preprocessor, 'std', torch.ones(3, 1, 1))
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
            inputs (Tensor): The image as the network gets it, shape (3, H, W).
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
            ignored = _boxes(sample.ignored_instances) * scale
            colours, names = [IGNORED_COLOUR] * len(ignored), ['ignored'] * len(ignored)
            painter.outline(ignored, colours, names, '--')
        objects = _boxes(sample.gt_instances) * scale
        labels = sample.gt_instances.labels
        painter.objects(InstanceData(bboxes=objects, labels=labels))
        return painter.picture()


def _boxes(instances: Any) -> Tensor:
    """Return xyxy boxes as a plain tensor, shape (G, 4)."""
    return torch.as_tensor(
        getattr(instances.bboxes, 'tensor', instances.bboxes)
    ).float()


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    """Fit a picture into a white tile."""
    width, height = THUMBNAIL
    small = mmcv.imrescale(picture, (height - 4, width - 4))
    return mmcv.impad(small, shape=(height, width), pad_val=(255,) * 3)


def contact_sheet(tiles: list[np.ndarray]) -> np.ndarray:
    """Put tiles of one size (H, W, 3) into rows of `COLUMNS`, white where none is."""
    columns = min(COLUMNS, len(tiles))
    blank = np.full_like(tiles[0], 255)
    tiles = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)
