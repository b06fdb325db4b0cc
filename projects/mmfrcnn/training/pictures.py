"""Pictures of a training in its work folder: data, batches, curves, predictions."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmengine.visualization import LocalVisBackend
from torch import Tensor

from mmfrcnn.data.checks.preflight import plain_datasets
from mmfrcnn.training.results import RESULTS, number, of_a_class, read_results, tried
from mmfrcnn.visualization.fed import (
    FedImagePainter,
    boxes_stay_original,
    contact_sheet,
    plain_boxes,
    thumbnail,
)
from mmfrcnn.visualization.figures import Curve, draw_curves, draw_labels
from mmfrcnn.visualization.painter import Painter
from mmfrcnn.visualization.panels import draw_pair

CURVES, BATCH = 'curves.png', 'train_batch.jpg'
PREDICTIONS, LABELS = 'val_predictions.jpg', 'labels.png'
NUM_FED, FED_TILE = 8, (480, 360)
NUM_PAIRS, PAIR_TILE = 6, (960, 384)
SCORE = 0.3
NUM_READ = 5000
"""So many images' boxes are looked at, evenly spread, if there are more."""
SHARE = 0.02
"""Of the time since, curves may have taken before they are drawn at a validation."""


@HOOKS.register_module()
class PicturesHook(Hook):
    """Draws what a training is given, and how it fares, into its work folder.

    ``labels.png``: the boxes of the data, at the start. ``train_batch.jpg``: the first
    images as the network is fed. ``curves.png``: at validations and the end.
    ``val_predictions.jpg``: ground truth beside detections, at the end. They are sent
    to the visualizer's other backends too (TensorBoard, say). Between the first
    batches and the validations this hook does nothing. A picture that cannot be drawn
    is a warning.
    """

    priority = 'NORMAL'  # before LoggerHook, which closes the visualizer in the end

    def __init__(self) -> None:
        self._fed: list[tuple[Tensor, DetDataSample]] = []
        self._watch: Any = None  # of the data preprocessor
        self._seen: list[DetDataSample] = []  # of the last validation
        self._drawn, self._cost = time.monotonic(), 0.0

    def before_train(self, runner: Runner) -> None:
        """Draw the labels, and wait for the first batches."""
        if not is_main_process():
            return
        with tried(runner, LABELS):
            _put(runner, LABELS, _labels(runner.train_dataloader.dataset))
        model = getattr(runner.model, 'module', runner.model)

        def keep(module: Any, inputs: Any, batch: dict) -> None:
            with tried(runner, BATCH):
                for image, sample in zip(
                    batch['inputs'], batch['data_samples'], strict=True
                ):
                    if len(self._fed) < NUM_FED:
                        self._fed.append((image.detach().cpu(), sample.cpu()))

        self._watch = model.data_preprocessor.register_forward_hook(keep)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Draw the first images, once there are enough of them."""
        if self._watch and not 0 < len(self._fed) < NUM_FED:
            self._draw_fed(runner)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Keep the detections of the first images."""
        if batch_idx == 0:
            self._seen = []
        if is_main_process() and len(self._seen) < NUM_PAIRS:
            self._seen += list(outputs or ())[: NUM_PAIRS - len(self._seen)]

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Draw the curves, unless that would take much of the training's time."""
        if self._cost < SHARE * (time.monotonic() - self._drawn):
            self._draw_curves(runner)

    def after_run(self, runner: Runner) -> None:
        """Draw the curves and, beside the ground truth, the last detections."""
        if not is_main_process():
            return
        self._draw_fed(runner)
        self._draw_curves(runner)
        with tried(runner, PREDICTIONS):
            if self._seen:
                _put(runner, PREDICTIONS, _predictions(runner, self._seen))

    def _draw_fed(self, runner: Runner) -> None:
        """Draw what was fed, and look at no batch any more."""
        if self._watch is None:
            return
        self._watch.remove()
        fed, self._fed, self._watch = self._fed, [], None
        model = getattr(runner.model, 'module', runner.model)
        with tried(runner, BATCH):
            if fed:
                metainfo = runner.train_dataloader.dataset.metainfo
                painter = FedImagePainter(model.data_preprocessor, metainfo)
                tiles = [
                    thumbnail(painter.draw(image, sample, False), FED_TILE)
                    for image, sample in fed
                ]
                _put(runner, BATCH, contact_sheet(tiles))

    def _draw_curves(self, runner: Runner) -> None:
        if not is_main_process():
            return
        start = time.monotonic()
        with tried(runner, CURVES):
            _put(runner, CURVES, draw_curves(*history(Path(runner.work_dir))))
        self._drawn = time.monotonic()
        self._cost = self._drawn - start


def _put(runner: Runner, name: str, picture: np.ndarray) -> None:
    """Write an RGB picture into the work folder; send it where else records go."""
    mmcv.imwrite(mmcv.rgb2bgr(picture), str(Path(runner.work_dir) / name))
    for backend in runner.visualizer._vis_backends.values():
        if not isinstance(backend, LocalVisBackend):
            backend.add_image(name, picture, step=runner.iter)


def history(work_dir: Path) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Return the losses and the metrics of a run by iteration.

    Losses are those of mmengine's logs. Where a run was resumed, a later log replaces
    what an earlier one has from its first iteration on.
    """
    points: dict[int, dict[str, float]] = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        new = {one['iter']: one for one in lines if 'iter' in one and 'loss' in one}
        points = {i: p for i, p in points.items() if i < min(new, default=i + 1)} | new
    losses: dict[str, Curve] = {}
    for iteration, point in points.items():
        for name in (name for name in point if 'loss' in name):
            xs, ys = losses.setdefault(name, ([], []))
            xs.append(iteration)
            ys.append(point[name])
    metrics: dict[str, Curve] = {}
    for row in read_results(work_dir / RESULTS):
        for name in row:
            if '/' in name and not of_a_class(name):
                xs, ys = metrics.setdefault(name, ([], []))
                xs.append(int(row['iteration']))
                value = number(row[name])
                ys.append(value if value >= 0 else math.nan)  # COCO's -1 is none
    return losses, metrics


def _labels(dataset: Any) -> np.ndarray:
    """Draw the boxes of a data set, crowds and the like left out."""
    counts: Counter[str] = Counter()
    sizes = []
    length = read = 0
    for plain in plain_datasets(dataset):
        names = plain.metainfo['classes']
        counts.update(dict.fromkeys(names, 0))
        every = max(1, -(-len(plain) // NUM_READ))
        for index in range(0, len(plain), every):
            for one in plain.get_data_info(index)['instances']:
                if not one.get('ignore_flag'):
                    left, top, right, bottom = one['bbox']
                    counts[names[one['bbox_label']]] += 1
                    sizes.append((right - left, bottom - top))
            read += 1
        length += len(plain)
    part = f'{read} of ' * (read < length)
    title = f'{part}{length} training images'
    return draw_labels(counts, np.array(sizes, float).reshape(-1, 2), title)


def _predictions(runner: Runner, samples: list[DetDataSample]) -> np.ndarray:
    """Draw ground truth beside detections, in pixels of the original images."""
    metainfo = runner.val_dataloader.dataset.metainfo
    painter = Painter(metainfo['classes'], metainfo.get('palette', 'random'))
    original = boxes_stay_original(runner.cfg.val_dataloader.dataset)
    pairs = []
    for sample in (sample.to('cpu') for sample in samples):
        scale = torch.ones(4)
        if not original:
            scale = torch.tensor(sample.scale_factor).repeat(2)
        gt = InstanceData(
            bboxes=plain_boxes(sample.gt_instances) / scale,
            labels=sample.gt_instances.labels,
        )
        found = sample.pred_instances
        detections = InstanceData(
            bboxes=plain_boxes(found), labels=found.labels, scores=found.scores
        )
        picture = mmcv.imread(sample.img_path)
        pair = draw_pair(picture, gt, detections, painter=painter, score_thr=SCORE)
        pairs.append(thumbnail(cv2.cvtColor(pair, cv2.COLOR_BGR2RGB), PAIR_TILE))
    return contact_sheet(pairs, columns=2)
