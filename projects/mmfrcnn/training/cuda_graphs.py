"""A training step's forward and backward as CUDA graphs, recorded once and replayed.

The host of a GPU launches some thousand kernels a step, one by one; of a small batch it
needs longer for that than the GPU for the work. A graph is launched as one. It can
stand for a step because no shape of ours depends on data, nothing waits, and what
changes from step to step (images, ground truth in slots, sizes, image keys, the number
of the sampler's draw) is a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
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
from mmfrcnn.modeling.roi_head import BatchedRoIHead
from mmfrcnn.modeling.rpn_head import RegionProposalHead
from mmfrcnn.modeling.rpn_training import check_anchors
from mmfrcnn.modeling.sampler import BalancedSampler, balanced_samplers
from mmfrcnn.structures.anchor_grid import AnchorGrid
from mmfrcnn.structures.image_batch import DataSamples, ImageBatch

# From a module and its arguments to what may be called in the module's place.
Record = Callable[[nn.Module, tuple[Tensor, ...]], Callable[..., tuple[Tensor, ...]]]


class RecordedLoss:
    """A detector's ``loss``, recorded once for each kind of batch, and replayed.

    A kind is whatever decides which operators run on what memory: the images' shape,
    the number of ground-truth slots, whether any image is padded, what is trained, in
    what precision, and where the weights lie.

    Args:
        detector (BatchedFasterRCNN): With our heads, assigner and sampler.
        record (Callable): Records a module.
        report (Callable): Told what was recorded.

    Raises:
        UserError: If the detector has a part whose work depends on data.
    """

    def __init__(
        self, detector: Any, record: Record, report: Callable[[str], None]
    ) -> None:
        _check_parts(detector)
        self.detector = detector
        self.loss = detector.loss
        self.record = record
        self.report = report
        self.samplers = balanced_samplers(detector)
        self.border = detector.rpn_head.train_cfg.get('allowed_border', -1)
        self.steps: dict[tuple, _Step] = {}

    def __call__(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """Return the losses of a batch, as ``detector.loss`` does."""
        device = batch_inputs.device
        samples = DataSamples(batch_data_samples, device, training=True)
        for sampler in self.samplers:
            sampler.feed(device)
        kind = self._kind(batch_inputs, samples.images)
        if kind not in self.steps:
            self.steps[kind] = self._record(batch_inputs, samples)
        step = self.steps[kind]
        check_anchors(step.grid, samples.images, self.border)
        values = step.replay(batch_inputs, *samples.images.tensors().values())
        return dict(zip(step.names, values, strict=True))

    def _kind(self, batch_inputs: Tensor, images: ImageBatch) -> tuple:
        precision = _autocast(batch_inputs.device)
        weights = [(p.data_ptr(), p.requires_grad) for p in self.detector.parameters()]
        shapes = [tuple(tensor.shape) for tensor in images.tensors().values()]
        is_padded = _is_padded(batch_inputs, images)
        return tuple(batch_inputs.shape), *shapes, is_padded, precision, tuple(weights)

    def _record(self, batch_inputs: Tensor, samples: DataSamples) -> _Step:
        # Of each batch of a kind the operators must be the same: where an image may be
        # padded, anchors beyond it are looked for whether there are any or not.
        images = samples.images.with_tensors({})
        if _is_padded(batch_inputs, images):
            images.metas = [{**meta, 'pad_shape': (0, 0)} for meta in images.metas]
        samples = samples.with_images(images)
        module = _TensorLoss(self.detector, self.loss, samples, self.samplers)
        given = batch_inputs, *images.tensors().values()
        enabled, dtype = _autocast(batch_inputs.device)
        with (
            _as_before(self.detector, batch_inputs.device),
            torch.autocast(
                batch_inputs.device.type, dtype, enabled, cache_enabled=False
            ),
        ):
            replay = self.record(module, given)
        number, _, height, width = batch_inputs.shape
        self.report(
            f'Recorded step {len(self.steps) + 1}: {number} images of '
            f'{height}x{width}, {images.gt.mask.shape[1]} ground-truth slots.'
        )
        return _Step(replay, module.names, self.detector.rpn_head.anchor_grid.latest)


class _Step:
    """What was recorded, and what it reads: the grid must live as long."""

    def __init__(
        self,
        replay: Callable[..., tuple[Tensor, ...]],
        names: list[str],
        grid: AnchorGrid,
    ) -> None:
        self.replay = replay
        self.names = names
        self.grid = grid


class _TensorLoss(nn.Module):
    """The loss as a function of tensors."""

    def __init__(
        self,
        detector: nn.Module,
        loss: Callable[..., dict[str, Tensor]],
        samples: DataSamples,
        samplers: list[BalancedSampler],
    ) -> None:
        super().__init__()
        self.detector = detector  # whose weights are trained
        self.loss = loss
        self.samples = samples
        self.samplers = samplers
        self.names: list[str] = []

    def forward(self, batch_inputs: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the losses of images and of an ``ImageBatch``'s tensors."""
        for sampler in self.samplers:
            sampler.repeat()  # a recorder runs the step several times
        images = self.samples.images
        named = dict(zip(images.tensors(), tensors, strict=True))
        samples = self.samples.with_images(images.with_tensors(named))
        losses = self.loss(batch_inputs, samples)
        self.names = list(losses)
        return tuple(losses.values())


class CudaGraphs:
    """Records modules as CUDA graphs, whose memory is shared: they run in turn."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, module: nn.Module, given: tuple[Tensor, ...]) -> Any:
        """Record a module.

        Args:
            module (nn.Module): Of tensors, to tensors.
            given (tuple[Tensor]): The first batch.

        Raises:
            UserError: If a part of it cannot be recorded.
        """
        own = tuple(one.clone() for one in given)  # where each batch is copied to
        try:
            return torch.cuda.make_graphed_callables(
                module, own, allow_unused_input=True, pool=self.pool
            )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f'--cuda-graphs: a step cannot be recorded ({reason}). Train without '
                'it.'
            ) from error


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


def _check_parts(detector: nn.Module) -> None:
    """Refuse a detector whose step depends on data, or is not one of tensors."""
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
    if roi_head.with_mask:
        raise UserError(
            '--cuda-graphs: how many masks a batch has is different each time. Train '
            'the mask head without it.'
        )
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


def _is_padded(batch_inputs: Tensor, images: ImageBatch) -> bool:
    """Whether any image is smaller than the batch."""
    size = tuple(batch_inputs.shape[-2:])
    return any(tuple(meta['pad_shape'][:2]) != size for meta in images)


def _autocast(device: torch.device) -> tuple[bool, torch.dtype]:
    enabled = torch.is_autocast_enabled(device.type)
    return enabled, torch.get_autocast_dtype(device.type)


@contextmanager
def _as_before(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Undo what trial runs change: statistics of norms, and the dice.

    A training with graphs then goes as it would without.
    """
    buffers = {n: b.clone() for n, b in module.named_buffers()}
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        yield
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(buffers[name])
