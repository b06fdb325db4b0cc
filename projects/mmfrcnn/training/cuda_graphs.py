"""A training step's forward and backward as CUDA graphs.

The host of a GPU launches some thousand kernels a step, one by one; of a small batch it
needs longer for that than the GPU for the work. A graph is launched as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.assigner import AnchorAssigner
from mmfrcnn.modeling.box_training import trains_batch_norm
from mmfrcnn.modeling.cascade_roi_head import BatchedCascadeRoIHead
from mmfrcnn.modeling.detector import BatchedFasterRCNN
from mmfrcnn.modeling.mask_targets import (
    ListedMasks,
    StackedMasks,
    ground_truth_masks,
)
from mmfrcnn.modeling.roi_head import BatchedRoIHead
from mmfrcnn.modeling.rpn_head import RegionProposalHead
from mmfrcnn.modeling.rpn_training import check_anchors
from mmfrcnn.modeling.sampler import BalancedSampler, balanced_samplers
from mmfrcnn.structures.image_batch import DataSamples
from mmfrcnn.training.recording import CudaGraphs, Record, Recorder


class RecordedLoss:
    """Stands for a detector's ``loss``; its results are the same.

    Args:
        detector (BatchedFasterRCNN): With our heads, assigner and sampler.
        record (Callable): Records a module, forward and backward.
        report (Callable): Told what was recorded.

    Raises:
        UserError: If the detector has a part whose work depends on data.
    """

    def __init__(
        self, detector: Any, record: Record, report: Callable[[str], None]
    ) -> None:
        check_heads(detector)
        _check_training(detector)
        self.recorder = Recorder(detector, detector.loss, record, report)
        self.samplers = balanced_samplers(detector)
        self.with_mask = detector.roi_head.with_mask
        self.border = detector.rpn_head.train_cfg.get('allowed_border', -1)

    def __call__(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """Return the losses of a batch, as ``detector.loss`` does."""
        device = batch_inputs.device
        samples = DataSamples(batch_data_samples, device, training=True)
        if self.with_mask:
            samples.masks = _stacked(ground_truth_masks(samples, device))
        for sampler in self.samplers:
            sampler.feed(device)
        step = self.recorder.step(batch_inputs, samples)
        check_anchors(step.grid, samples.images, self.border)
        return step(batch_inputs, samples)


@HOOKS.register_module()
class CudaGraphHook(Hook):
    """:class:`RecordedLoss` from the start of training on."""

    priority = 'LOWEST'  # after hooks that copy the model

    def before_train(self, runner: Runner) -> None:
        """Have the step recorded; it happens with the first batch of each kind.

        Raises:
            UserError: If this training cannot be recorded.
        """
        model = runner.model
        if is_model_wrapper(model):
            raise UserError(
                '--cuda-graphs records one process of its own, and this is one of '
                f'{runner.world_size} that share gradients. Train without it.'
            )
        if getattr(runner.optim_wrapper, '_accumulative_counts', 1) != 1:
            raise UserError(
                '--cuda-graphs: a replayed step writes its gradients over the last '
                "one's. Set optim_wrapper.accumulative_counts=1."
            )
        if next(model.parameters()).device.type != 'cuda':
            raise UserError('--cuda-graphs needs a GPU, and training is on the CPU.')
        model.loss = RecordedLoss(model, CudaGraphs(), runner.logger.info)


def check_heads(detector: nn.Module) -> None:
    """Refuse a detector whose work is not one of tensors.

    Raises:
        UserError: With what it has and what is needed.
    """
    rpn_head = getattr(detector, 'rpn_head', None)
    roi_head = getattr(detector, 'roi_head', None)
    if not (
        isinstance(detector, BatchedFasterRCNN)
        and isinstance(rpn_head, RegionProposalHead)
        and isinstance(roi_head, BatchedRoIHead | BatchedCascadeRoIHead)
    ):
        raise UserError(
            '--cuda-graphs records BatchedFasterRCNN with RegionProposalHead and a '
            f'batched RoI head, and model is a {type(detector).__name__} with '
            f'{type(rpn_head).__name__} and {type(roi_head).__name__}.'
        )


def _stacked(masks: StackedMasks | ListedMasks) -> StackedMasks:
    if isinstance(masks, ListedMasks):
        raise UserError(
            '--cuda-graphs: outlines are cut on the host, one by one. Load bitmaps: '
            "poly2mask=True, the default of dict(type='LoadAnnotations', ...)."
        )
    return masks.in_bucket()


def _check_training(detector: Any) -> None:
    rpn_head, roi_head = detector.rpn_head, detector.roi_head
    for key, needed in (('assigner', AnchorAssigner), ('sampler', BalancedSampler)):
        second = getattr(roi_head, f'bbox_{key}')
        seconds = second if isinstance(second, list) else [second]
        for one in (getattr(rpn_head, key), *seconds):
            if not isinstance(one, needed):
                raise UserError(
                    f'--cuda-graphs: {type(one).__name__} goes image by image and '
                    f'waits for each. Use {needed.__name__}, or train without it.'
                )
    if trains_batch_norm([roi_head]):
        raise UserError(
            '--cuda-graphs: batch norm in the RoI head takes its statistics over as '
            'many regions as there are. Use another norm there, or train without it.'
        )
