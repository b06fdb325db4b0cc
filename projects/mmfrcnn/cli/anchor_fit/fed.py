"""Images through the training pipeline, for the objects that a network is fed."""

from __future__ import annotations

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import set_random_seed
from tqdm import tqdm

from mmfrcnn.cli.anchor_fit.objects import Objects, spread
from mmfrcnn.cli.runtime import explained
from mmfrcnn.errors import UserError
from mmfrcnn.structures.image_batch import images_of


def fed_objects(
    config: Config, path: str, number: int, seed: int
) -> tuple[Objects, str]:
    """Run images through the training pipeline and collect their objects.

    Args:
        config (Config): With its class names filled in.
        path (str): Its file.
        number (int): How many images, spread evenly over the data set.
        seed (int): Of augmentation.

    Returns:
        tuple: The objects, and of how many images they are, in words.

    Raises:
        UserError: If there is nothing to train on.
    """
    if config.get('train_dataloader') is None:
        raise UserError(f'{path} has no train_dataloader')
    set_random_seed(seed)
    with explained(config, ['train']):
        dataset = DATASETS.build(config.train_dataloader.dataset)
    preprocessor = MODELS.build(
        config.get('data_preprocessor') or config.model.data_preprocessor
    )
    chosen = spread(len(dataset), number)
    images = []
    for index in tqdm(chosen, 'images', disable=None):  # on a terminal
        with explained(config, ['train']):
            batch = pseudo_collate([dataset[index]])
        samples = preprocessor(batch, training=True)['data_samples']
        images.append(images_of(samples, torch.device('cpu'), training=True))
    objects = Objects.of(images)
    if not len(objects.boxes):
        raise UserError(
            f'train_dataloader.dataset gives no box to train on in {len(chosen)} of '
            f'its {len(dataset)} images. Check its ann_file, metainfo=dict(classes='
            '...) and pipeline; `mmfrcnn browse` shows them'
        )
    return objects, f'{len(chosen)} of {len(dataset)} images'
