"""A trained detector for images in memory: config, checkpoint, class names, batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import _load_checkpoint

from mmfrcnn.data.class_names import set_num_classes
from mmfrcnn.deploy.prepare import prepare_for_inference
from mmfrcnn.errors import UserError
from mmfrcnn.weights.checkpoints import check_checkpoint
from mmfrcnn.weights.fitting import check_weights, stored_classes


class Detector:
    """Predicts the objects in images given as arrays, a batch at a time.

    Args:
        config (Config): A loaded and checked config.
        checkpoint (str): Its checkpoint; loaded weights-only.
        device (str): Where to run.
        compiled (bool): Whether to compile the model.
        precision (str): ``fp32``, ``bf16`` or ``fp16``.
        recorded (bool): Whether to record its work as CUDA graphs.

    Attributes:
        classes (tuple[str, ...]): Class names, by label.
        palette (Any): Their colours, if the data set has some, else 'random'.
    """

    def __init__(
        self,
        config: Config,
        checkpoint: str,
        device: str,
        compiled: bool = False,
        precision: str = 'fp32',
        recorded: bool = False,
    ) -> None:
        check_checkpoint(checkpoint)
        init_default_scope(config.get('default_scope', 'mmdet'))
        loaded = _load_checkpoint(checkpoint, map_location='cpu')
        weights = loaded.get('state_dict', loaded)
        meta = _dataset_meta(config, loaded)
        if not _given_classes(config):  # training took them from the annotations
            set_num_classes(config.model, len(meta['classes']))
        self.model = MODELS.build(config.model)
        check_weights(self.model, weights, checkpoint)
        self.model.load_state_dict(weights)
        prepare_for_inference(self.model.to(device), compiled, precision, recorded)
        self.classes = tuple(meta['classes'])
        self.palette = meta.get('palette', 'random')
        _check_class_count(config, self.classes, checkpoint)
        self.pipeline = Compose(_pipeline_from_arrays(config))

    def prepare(self, image: np.ndarray, index: int) -> dict[str, Any]:
        """Run the test pipeline on an image (BGR uint8, (H, W, 3))."""
        return self.pipeline({'img': image, 'img_id': index})

    @torch.no_grad()
    def predict(self, prepared: Sequence[dict[str, Any]]) -> list[DetDataSample]:
        """Detect objects in prepared images; boxes are xyxy in original pixels."""
        return self.model.test_step(pseudo_collate(list(prepared)))


def _pipeline_from_arrays(config: Config) -> list[dict[str, Any]]:
    """Return the test pipeline, fed with arrays and without annotations."""
    dataset = _innermost(config.test_dataloader.dataset)
    pipeline = [t for t in dataset.pipeline if 'Annotations' not in str(t['type'])]
    if 'LoadImageFromFile' not in str(pipeline[0]['type']):
        raise UserError(
            'test_dataloader.dataset.pipeline must begin with LoadImageFromFile to '
            f'predict on images; it begins with {pipeline[0]["type"]}'
        )
    return [{**pipeline[0], 'type': 'mmdet.LoadImageFromNDArray'}, *pipeline[1:]]


def _innermost(dataset: Any) -> Any:
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def _given_classes(config: Config) -> Any:
    metainfo = _innermost(config.test_dataloader.dataset).get('metainfo') or {}
    return metainfo.get('classes')


def _dataset_meta(config: Config, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return class names and colours: the checkpoint's, else the config's."""
    classes = stored_classes(checkpoint)
    if classes:
        stored = checkpoint['meta'].get('dataset_meta') or {}
        return {**stored, 'classes': classes}
    if _given_classes(config):
        return _innermost(config.test_dataloader.dataset)['metainfo']
    dataset = _innermost(config.test_dataloader.dataset)
    own = getattr(DATASETS.get(dataset['type']), 'METAINFO', {})
    if not own.get('classes'):
        raise UserError(
            'neither the checkpoint nor the config names the classes. Add metainfo='
            "dict(classes=('cat', ...)) to test_dataloader.dataset"
        )
    print(f'The checkpoint names no classes: taking those of {dataset["type"]}.')
    return own


def _check_class_count(config: Config, classes: Sequence[str], path: str) -> None:
    head = config.model.get('roi_head', {}).get('bbox_head', {})
    heads = head if isinstance(head, list) else [head]
    expected = heads[-1].get('num_classes') if heads else None
    if expected is not None and expected != len(classes):
        raise UserError(
            f'{path}: {len(classes)} class names ({", ".join(classes[:4])}, ...) for '
            f'a model of {expected} classes. Give the right ones as metainfo='
            "dict(classes=('cat', ...)) of test_dataloader.dataset"
        )
