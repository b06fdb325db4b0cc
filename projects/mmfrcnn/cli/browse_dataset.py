"""``tools/browse_dataset.py``: pictures of what the network is fed.

Images come from the data set and the data preprocessor as in training or testing, in
batches, so that they are padded; then only the normalisation is undone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mmcv
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmengine.utils import ProgressBar

from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.cli.config import load_config
from mmfrcnn.cli.outputs import check_folder, mark_folder
from mmfrcnn.cli.runtime import explained
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn.errors import UserError
from mmfrcnn.visualization.fed import (
    FedImagePainter,
    boxes_stay_original,
    contact_sheet,
    thumbnail,
)


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
    with explained(config, [args.split]):
        dataset = DATASETS.build(loader.dataset)
    preprocessor = MODELS.build(
        config.get('data_preprocessor') or config.model.data_preprocessor
    )
    mark_folder(out_dir)
    painter = FedImagePainter(preprocessor, dataset.metainfo)
    in_original_frame = args.split != 'train' and boxes_stay_original(loader.dataset)

    chosen = torch.randperm(len(dataset))[: args.number].tolist()
    batch_size = loader.get('batch_size') or 1
    progress = ProgressBar(len(chosen))
    thumbnails = []
    for start in range(0, len(chosen), batch_size):
        indices = chosen[start : start + batch_size]
        with explained(config, [args.split]):
            batch = pseudo_collate([dataset[index] for index in indices])
        fed = preprocessor(batch, training=args.split == 'train')
        for place, sample in enumerate(fed['data_samples']):
            picture = painter.draw(fed['inputs'][place], sample, in_original_frame)
            name = f'{start + place:04d}_{Path(sample.img_path).stem}.png'
            mmcv.imwrite(mmcv.rgb2bgr(picture), str(out_dir / name))
            thumbnails.append(thumbnail(picture))
        progress.update(len(indices))
    print()
    sheet = contact_sheet(thumbnails)
    mmcv.imwrite(mmcv.rgb2bgr(sheet), str(out_dir / 'overview.png'))
    print(f'{len(chosen)} of {len(dataset)} images: {out_dir}, overview.png first')
    if args.show:
        mmcv.imshow(mmcv.rgb2bgr(sheet), args.config)
