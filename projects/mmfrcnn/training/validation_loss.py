"""The losses on the images of the validation, which training never sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.ledger.truth import Truth, truths_of
from mmfrcnn.modeling.sampler import balanced_samplers
from mmfrcnn.training.results import RESULTS, best_row, number, read_results

NAME = 'val_loss'


@HOOKS.register_module()
class ValidationLossHook(Hook):
    """Adds the validation loss to the metrics of each validation.

    ``val_loss`` is the sum of the losses, as ``loss`` is in training, and
    ``val_loss_rpn_cls`` and the like are its parts: means over the images of all
    processes. ``save_best='val_loss'`` keeps the checkpoint where it is lowest, and
    ``EarlyStoppingHook(monitor='val_loss')`` ends a run where it falls no more. The
    features of an image are those of its detection, so only the heads work twice.

    Weights, statistics and the samplers of training stay as they are; each validation
    samples the same anchors and proposals of an image, as far as the network proposes
    the same. The ground truth is what the data set says, scaled as the image is. At the
    end of a run a line says if the network has learnt its training images by heart.

    Raises:
        UserError: If the network has masks, whose ground truth is not scaled here.
    """

    priority = 'ABOVE_NORMAL'  # before what writes the metrics, or decides by them

    def __init__(self) -> None:
        self._truths: dict[Any, Truth] | None = None

    def before_val_epoch(self, runner: Runner) -> None:
        """Watch the features of the network, and remember its samplers."""
        model: Any = runner.model
        self._model = model.module if is_model_wrapper(model) else model
        if getattr(self._model, 'with_mask', False):
            raise UserError(
                'ValidationLossHook: the network has masks, whose losses it does not '
                'compute; leave it out of custom_hooks'
            )
        if self._truths is None:  # the data set is the same in each validation
            self._truths = truths_of(runner.val_dataloader.dataset)
        self._sums: dict[str, Any] = {}
        self._images = 0
        self._features: Any = None
        last = self._model.neck if self._model.with_neck else self._model.backbone
        self._handle = last.register_forward_hook(self._saw_features)
        self._draws = [one.draws for one in balanced_samplers(self._model)]

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[DetDataSample] | None = None,
    ) -> None:
        """Add the losses of a batch."""
        outputs = outputs or []
        device = self._features[0].device
        samples = [
            _with_truth(one, self._truths[one.img_id], device) for one in outputs
        ]
        for sampler in balanced_samplers(self._model):
            sampler.draws = 0  # an image's sample is its own, in whichever batch it is
        with torch.no_grad(), _same_dice(device), self._seen_features():
            # Of the inputs, only the device is asked for.
            losses = type(self._model).loss(self._model, self._features[0], samples)
        for name, loss in losses.items():
            if 'loss' in name:
                levels = loss if isinstance(loss, list | tuple) else [loss]
                value = torch.stack([one.float().mean() for one in levels]).sum()
                self._sums[name] = self._sums.get(name, 0) + value * len(samples)
        self._images += len(samples)

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Put everything back, and add the means to the metrics."""
        self._handle.remove()
        for sampler, draws in zip(
            balanced_samplers(self._model), self._draws, strict=True
        ):
            sampler.draws = draws
        own = {name: float(total) for name, total in self._sums.items()}
        # A process that had no image knows no names.
        of_all = all_gather_object((self._images, own))
        images = sum(number for number, _ in of_all)
        names = dict.fromkeys(name for _, sums in of_all for name in sums)
        parts = {
            f'val_{name}': sum(sums.get(name, 0.0) for _, sums in of_all) / images
            for name in names
        }
        if metrics is not None:
            metrics.update({NAME: sum(parts.values()), **parts})

    def after_train(self, runner: Runner) -> None:
        """Say if the network has learnt its training images by heart."""
        said = overfitting(read_results(Path(runner.work_dir) / RESULTS))
        if said:
            runner.logger.warning(said)

    def _saw_features(self, module: Any, given: Any, outputs: Any) -> None:
        self._features = outputs

    @contextmanager
    def _seen_features(self) -> Iterator[None]:
        """Let the network take the features that it has computed already."""
        self._model.extract_feat = lambda inputs: self._features
        try:
            yield
        finally:
            del self._model.extract_feat


def _with_truth(
    found: DetDataSample, truth: Truth, device: torch.device
) -> DetDataSample:
    """Return a sample of training: the objects in pixels of the network's input."""
    boxes = truth.in_input(found.scale_factor).to(device)
    labels = torch.from_numpy(truth.labels).to(device)
    ignored = torch.from_numpy(truth.ignored).to(device)
    sample = DetDataSample(metainfo=found.metainfo)
    sample.gt_instances = InstanceData(bboxes=boxes[~ignored], labels=labels[~ignored])
    sample.ignored_instances = InstanceData(bboxes=boxes[ignored])
    return sample


@contextmanager
def _same_dice(device: torch.device) -> Iterator[None]:
    """Let mmdet's samplers, which throw torch's dice, throw the same each time."""
    devices = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices):
        # From the beginning: our samplers' keys go by this seed, too.
        torch.manual_seed(torch.initial_seed())
        yield


RISEN = 1.05
"""From so many times its lowest on, the validation loss has risen."""


def overfitting(rows: Sequence[dict[str, str]]) -> str:
    """Say since when a network has got worse on the validation's images, or nothing.

    Args:
        rows (Sequence[dict[str, str]]): Those of ``results.csv``.
    """
    best = best_row(rows, NAME)
    if best is None or best is rows[-1]:
        return ''
    lowest, now = (number(row.get(NAME)) for row in (best, rows[-1]))
    before, after = (number(row.get('loss')) for row in (best, rows[-1]))
    if not (now > RISEN * lowest and after < before):
        return ''
    return (
        f'Overfitting: the validation loss was lowest after iteration '
        f'{best["iteration"]} ({lowest:.3f}) and is {now:.3f} now, while that of '
        f'training fell from {before:.3f} to {after:.3f}. More images, stronger '
        "augmentation or fewer epochs help; default_hooks.checkpoint.save_best='"
        f"{NAME}' keeps the best checkpoint"
    )
