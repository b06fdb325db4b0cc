"""A trained network for arrays: from config and weights to detections, in batches."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmfrcnn.data.class_names import innermost, set_num_classes
from mmfrcnn.data.images import UnreadableImageError
from mmfrcnn.deploy.precision import DTYPES
from mmfrcnn.deploy.prepare import prepare_for_inference
from mmfrcnn.deploy.tiled import TiledDetector
from mmfrcnn.errors import UserError
from mmfrcnn.weights.fitting import check_weights, stored_classes

# mmengine's scope is one for the whole process.
_BUILDING = threading.Lock()


class Network:
    """Predicts the objects in images given as arrays, a batch at a time.

    Args:
        config (Config): A loaded and checked config.
        loaded (dict): What its checkpoint holds, loaded weights-only.
        checkpoint (str): Where that is from, for messages.
        device (str): Where to run.
        compiled (bool): Whether to compile the model.
        precision (str): ``fp32``, ``bf16`` or ``fp16``.
        recorded (bool): Whether to record its work as CUDA graphs.

    Attributes:
        classes (tuple[str, ...]): Class names, by label.
        palette (Any): Their colours, if the data set has some, else 'random'.

    Raises:
        UserError: If the weights are of another model, or the classes are not known.
    """

    def __init__(
        self,
        config: Config,
        loaded: dict[str, Any],
        checkpoint: str,
        device: str,
        *,
        compiled: bool = False,
        precision: str = 'fp32',
        recorded: bool = False,
    ) -> None:
        weights = loaded.get('state_dict', loaded)
        scope = config.get('default_scope', 'mmdet')
        with _BUILDING, DefaultScope.overwrite_default_scope(scope):
            meta = _dataset_meta(config, loaded)
            if not _given_classes(config):  # training took them from the annotations
                set_num_classes(config.model, len(meta['classes']))
            self.model = MODELS.build(config.model)
            self.pipeline = Compose(_pipeline_from_arrays(config))
        # Of tiles, a wrapper cuts and merges; the detector is inside.
        self.tiled = isinstance(self.model, TiledDetector)
        detector = self.model.module if self.tiled else self.model
        check_weights(detector, weights, checkpoint)
        detector.load_state_dict(weights)
        self.precision = precision
        self.recorded = recorded
        prepare_for_inference(detector.to(device), compiled, precision, recorded)
        self.classes = tuple(meta['classes'])
        self.palette = meta.get('palette', 'random')
        _check_class_count(config, self.classes, checkpoint)

    def prepare(
        self, image: np.ndarray, index: int, pipeline: Compose | None = None
    ) -> dict[str, Any]:
        """Run the test pipeline, or a copy of it, on an image (BGR uint8, (H, W, 3)).

        Raises:
            UnreadableImageError: If the image is too narrow to be resized.
        """
        try:
            return (pipeline or self.pipeline)({'img': image, 'img_id': index})
        except (cv2.error, ZeroDivisionError) as error:
            height, width = image.shape[:2]
            raise UnreadableImageError(
                f'{width}x{height} pixels cannot be resized: no side may become 0'
            ) from error

    @torch.no_grad()
    def predict(self, prepared: Sequence[dict[str, Any]]) -> list[DetDataSample]:
        """Detect objects in prepared images; boxes are xyxy in original pixels."""

        def detect(places: list[int]) -> list[DetDataSample]:
            return self.model.test_step(pseudo_collate([prepared[i] for i in places]))

        return self.by_size(prepared, detect)

    def by_size(
        self,
        prepared: Sequence[dict[str, Any]],
        work: Callable[[list[int]], Sequence[Any]],
    ) -> list[Any]:
        """Work on images of the same padded size together, and on others apart.

        Padding that an image has not by itself changes what is found at its border: so
        the results would depend on which others are in its batch. Where work is
        recorded they do: each number and size of images would cost a recording.

        Args:
            prepared (Sequence[dict]): The images.
            work (Callable): Returns the results of the images at some places.

        Returns:
            list: The result of each image.
        """
        if self.recorded or self.tiled:
            return list(work(list(range(len(prepared)))))
        divisor = getattr(self.model.data_preprocessor, 'pad_size_divisor', 1)
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, one in enumerate(prepared):
            size = (math.ceil(side / divisor) for side in one['inputs'].shape[-2:])
            groups.setdefault(tuple(size), []).append(place)
        found = {}
        for places in groups.values():
            found.update(zip(places, work(places), strict=True))
        return [found[place] for place in range(len(prepared))]

    def rounded(self) -> AbstractContextManager:
        """Return what parts of the model must be called in, by its precision."""
        if self.precision == 'fp32':
            return nullcontext()
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, DTYPES[self.precision])


def _pipeline_from_arrays(config: Config) -> list[dict[str, Any]]:
    """Return the test pipeline, fed with arrays and without annotations."""
    dataset = _test_dataset(config)
    pipeline = [t for t in dataset.pipeline if 'Annotations' not in str(t['type'])]
    if 'LoadImageFromFile' not in str(pipeline[0]['type']):
        raise UserError(
            'test_dataloader.dataset.pipeline must begin with LoadImageFromFile to '
            f'predict on images; it begins with {pipeline[0]["type"]}'
        )
    return [{**pipeline[0], 'type': 'mmdet.LoadImageFromNDArray'}, *pipeline[1:]]


def _test_dataset(config: Config) -> Any:
    """Return the config of the test set, out of any wrappers."""
    if not config.get('test_dataloader'):
        raise UserError(
            'the config has no test_dataloader, so how to prepare images is not said'
        )
    return innermost(config.test_dataloader.dataset)


def _given_classes(config: Config) -> Any:
    metainfo = _test_dataset(config).get('metainfo') or {}
    return metainfo.get('classes')


def _dataset_meta(config: Config, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return class names and colours: the checkpoint's, else the config's."""
    classes = stored_classes(checkpoint)
    if classes:
        stored = checkpoint['meta'].get('dataset_meta') or {}
        return {**stored, 'classes': classes}
    if _given_classes(config):
        return _test_dataset(config)['metainfo']
    dataset = _test_dataset(config)
    own = getattr(DATASETS.get(dataset['type']), 'METAINFO', {})
    if not own.get('classes'):
        raise UserError(
            'neither the checkpoint nor the config names the classes. Add metainfo='
            "dict(classes=('cat', ...)) to test_dataloader.dataset"
        )
    print(f'The checkpoint names no classes: taking those of {dataset["type"]}.')
    return own


def _check_class_count(config: Config, classes: Sequence[str], path: str) -> None:
    model = config.model.get('module', config.model)  # of tiles, inside
    head = model.get('roi_head', {}).get('bbox_head', {})
    heads = head if isinstance(head, list) else [head]
    expected = heads[-1].get('num_classes') if heads else None
    if expected is not None and expected != len(classes):
        raise UserError(
            f'{path}: {len(classes)} class names ({", ".join(classes[:4])}, ...) for '
            f'a model of {expected} classes. Give the right ones as metainfo='
            "dict(classes=('cat', ...)) of test_dataloader.dataset"
        )
