"""Recording a detector's work on a batch, for each kind of batch once, to replay it.

It can be recorded because no shape of ours depends on data, nothing waits, and what
changes from batch to batch (images, ground truth in slots, sizes, image keys, the
number of the sampler's draw) is a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.sampler import balanced_samplers
from mmfrcnn.structures.anchor_grid import AnchorGrid
from mmfrcnn.structures.image_batch import DataSamples, ImageBatch

# From a module and its arguments to what may be called in the module's place.
Record = Callable[[nn.Module, tuple[Tensor, ...]], Callable[..., tuple[Tensor, ...]]]


class Recorder:
    """Runs a detector's work on batches, recorded once for each kind, and replayed.

    A kind is whatever decides which operators run on what memory: the images' shape,
    the number of ground-truth slots, whether any image is padded, what is trained, in
    what precision, and where the weights lie.

    Args:
        detector (nn.Module): With our heads.
        work (Callable): From images and data samples to named tensors.
        record (Callable): Records a module.
        report (Callable): Told what was recorded.
    """

    def __init__(
        self,
        detector: Any,
        work: Callable[[Tensor, DataSamples], dict[str, Tensor]],
        record: Record,
        report: Callable[[str], None],
    ) -> None:
        self.detector = detector
        self.work = work
        self.record = record
        self.report = report
        self.steps: dict[tuple, RecordedStep] = {}

    def step(self, batch_inputs: Tensor, samples: DataSamples) -> RecordedStep:
        """Return what stands for a batch's kind, recorded now if it is the first."""
        kind = self._kind(batch_inputs, samples)
        if kind not in self.steps:
            self.steps[kind] = self._record(batch_inputs, samples)
        return self.steps[kind]

    def _kind(self, batch_inputs: Tensor, samples: DataSamples) -> tuple:
        weights = [(p.data_ptr(), p.requires_grad) for p in self.detector.parameters()]
        shapes = [tuple(tensor.shape) for tensor in samples.tensors().values()]
        is_padded = _is_padded(batch_inputs, samples.images)
        precision = _autocast(batch_inputs.device)
        return tuple(batch_inputs.shape), *shapes, is_padded, precision, tuple(weights)

    def _record(self, batch_inputs: Tensor, samples: DataSamples) -> RecordedStep:
        # Of each batch of a kind the operators must be the same: where an image may be
        # padded, anchors beyond it are looked for whether there are any or not.
        samples = samples.with_tensors({})
        images = samples.images
        if _is_padded(batch_inputs, images):
            images.metas = [{**meta, 'pad_shape': (0, 0)} for meta in images.metas]
        module = _TensorFunction(self.detector, self.work, samples)
        device = batch_inputs.device
        enabled, dtype = _autocast(device)
        # A graph cannot hold weights that were cast for another.
        lower = torch.autocast(device.type, dtype, enabled, cache_enabled=False)
        with _as_before(self.detector, device), lower:
            replay = self.record(module, (batch_inputs, *samples.tensors().values()))
        number, _, height, width = batch_inputs.shape
        gt = images.gt
        slots = '' if gt is None else f', {gt.mask.shape[1]} ground-truth slots'
        self.report(
            f'Recorded step {len(self.steps) + 1}: {number} images of '
            f'{height}x{width}{slots}.'
        )
        return RecordedStep(
            replay, module.names, self.detector.rpn_head.anchor_grid.latest
        )


@dataclass
class RecordedStep:
    """What was recorded of one kind of batch, and what it reads.

    Attributes:
        replay (Callable): From tensors to tensors.
        names (list[str]): Of its results.
        grid (AnchorGrid): The anchors, which must live as long.
    """

    replay: Callable[..., tuple[Tensor, ...]]
    names: list[str]
    grid: AnchorGrid

    def __call__(self, batch_inputs: Tensor, samples: DataSamples) -> dict[str, Tensor]:
        """Replay it on a batch of its kind; the next replay writes over the results."""
        values = self.replay(batch_inputs, *samples.tensors().values())
        return dict(zip(self.names, values, strict=True))


class _TensorFunction(nn.Module):
    """The work as a function of images and of the tensors of their samples."""

    def __init__(
        self,
        detector: nn.Module,
        work: Callable[[Tensor, DataSamples], dict[str, Tensor]],
        samples: DataSamples,
    ) -> None:
        super().__init__()
        self.detector = detector  # whose weights are trained
        self.work = work
        self.samples = samples
        self.names: list[str] = []

    def forward(self, batch_inputs: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the results without their names, which are kept."""
        for sampler in balanced_samplers(self.detector):
            sampler.repeat()  # a recorder runs the work several times
        named = dict(zip(self.samples.tensors(), tensors, strict=True))
        results = self.work(batch_inputs, self.samples.with_tensors(named))
        self.names = list(results)
        return tuple(results.values())


class CudaGraphs:
    """Records modules as CUDA graphs, whose memory is shared: they run in turn."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    # What is made under inference mode could not be written to outside of it.
    @torch.inference_mode(False)
    def __call__(self, module: nn.Module, given: tuple[Tensor, ...]) -> Any:
        """Record a module, and its backward pass where gradients are on.

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
                f'--cuda-graphs: a step cannot be recorded ({reason}). Go without it.'
            ) from error


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
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        yield
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(buffers[name])
