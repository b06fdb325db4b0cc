"""What the heads' operators take, as functions of the batch: computed, not measured.

Each reads its input and writes its result once, and compares all pairs; whoever finds
pairs that need no comparison, or parts of the maps that no region covers, takes less.
Comparing two boxes is 13 operations: least and largest corners, sides, their product,
the union, the threshold. One value of a region's cell is four samples of four products
and sums.

Shapes: N images, S anchors of all levels, G ground truths an image, M candidates an
image before NMS, K regions an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch._library.custom_ops import OPDEFS
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmfrcnn.modeling.assigner import AnchorAssigner
from mmfrcnn.modeling.roi_extractor import PyramidRoIExtractor
from mmfrcnn.modeling.sampler import BalancedSampler
from mmfrcnn.ops.backend import Backend, using
from mmfrcnn.ops.nms import grouped_nms
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn_benchmark.contenders import PROPOSALS_BEFORE_NMS
from mmfrcnn_benchmark.operators import (
    MATCHING,
    PROPOSAL_IOU,
    REGIONS,
    SAMPLING,
    STRIDES,
)
from mmfrcnn_benchmark.pooling import CHANNELS, SIZE
from mmfrcnn_benchmark.pooling import STRIDES as POOLED

OBJECTS = 8
ANCHORS_A_CELL = 3
SAMPLES = 4  # a cell
# Bytes of one: four float32, one of them, int64, a truth value, bfloat16.
BOX, SCORE, INDEX, FLAG, VALUE = 16, 4, 8, 1, 2


class Cost(NamedTuple):
    """What one operator takes in a training step of N images.

    Attributes:
        operator (str): Its name.
        counted (str): What ``count`` counts.
        count (int): An image.
        flops (int): Operations in float32, an image.
        bytes_once (int): Through the memory, whatever N.
        bytes (int): Through the memory, an image.
    """

    operator: str
    counted: str
    count: int
    flops: int
    bytes_once: int
    bytes: int

    def seconds(self, images: int, card: Any) -> float:
        """Return the time of a batch at the rates of a :class:`~.roofline.Card`."""
        moved = self.bytes_once + images * self.bytes
        return max(images * self.flops / card.float32, moved / card.bandwidth)


def operator_costs(height: int, width: int) -> list[Cost]:
    """Return the cost of each operator, for images of a size."""
    levels = [ANCHORS_A_CELL * cells for cells in _cells(height, width, STRIDES)]
    candidates = [min(PROPOSALS_BEFORE_NMS[True], size) for size in levels]
    anchors, pairs = sum(levels), sum(n * (n - 1) // 2 for n in candidates)
    overlaps = anchors * OBJECTS
    values = CHANNELS * SIZE**2 * REGIONS
    maps = VALUE * CHANNELS * sum(_cells(height, width, POOLED))
    pooled = VALUE * values + REGIONS * (BOX + SCORE)
    samples = SAMPLES * SIZE**2 * REGIONS
    taps = 8 * SAMPLES * values
    return [
        Cost(
            *('NMS', 'pairs of boxes', pairs, 13 * pairs, 0),
            sum(candidates) * (BOX + SCORE + INDEX + FLAG),
        ),
        Cost(
            # With a division in place of the threshold; two more for the largest IoU
            # of the anchor and of the ground truth.
            *('assignment', 'pairs of anchor and object', overlaps, 15 * overlaps),
            *(anchors * BOX, anchors * (FLAG + INDEX + SCORE) + OBJECTS * BOX),
        ),
        Cost(
            *('sampling', 'anchors', anchors, 0, anchors * INDEX),
            anchors * FLAG + SAMPLING['num'] * (INDEX + 2 * FLAG),
        ),
        Cost('RoIAlign', 'samples', samples, taps, 0, maps + pooled),
        Cost('RoIAlign-backward', 'samples', samples, taps, 0, maps + pooled),
    ]


def _cells(height: int, width: int, strides: tuple[int, ...]) -> list[int]:
    return [math.ceil(height / s) * math.ceil(width / s) for s in strides]


# Operators that start nothing: questions, allocations, numbers of the host.
IDLE = ('prim::', 'aten::empty', 'aten::new_empty', 'aten::scalar_tensor')


class LaunchCounter(TorchDispatchMode):
    """Counts what starts work on a device, inside our own operators too.

    Attributes:
        operators (int): Of torch; a device may start several kernels for one of them.
        kernels (int): Of Triton; they are counted and not run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0
        self.kernels = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Count a call, or those that an operator of ours makes."""
        definition = OPDEFS.get(function._schema.name)
        if definition is not None:
            with self:
                return definition._init_fn(*args, **(kwargs or {}))
        idle = function.is_view or function._schema.name.startswith(IDLE)
        self.operators += not idle
        return function(*args, **(kwargs or {}))

    @contextmanager
    def in_place_of_kernels(self) -> Iterator[None]:
        """Have every launch of a Triton kernel do nothing but count."""
        from triton.runtime.jit import KernelInterface

        def count(*args: Any, **kwargs: Any) -> None:
            self.kernels += 1

        launch = KernelInterface.__getitem__
        KernelInterface.__getitem__ = lambda kernel, grid: count
        try:
            yield
        finally:
            KernelInterface.__getitem__ = launch


def count_launches(
    operator: str, backend: Backend, images: int, height: int, width: int
) -> int | None:
    """Count what one operator of a training step launches, on tensors without data.

    Args:
        operator (str): As :func:`operator_costs` names it.
        backend (str): ``reference`` for plain torch, ``cuda`` for the kernel.
        images (int): Images a batch.
        height (int): Of the images.
        width (int): Likewise.

    Returns:
        int | None: None where there is no kernel, or no Triton.
    """
    kernel = backend == 'cuda'
    if kernel and find_spec('triton') is None:
        return None
    counted = LaunchCounter()
    triton = counted.in_place_of_kernels() if kernel else nullcontext()
    with FakeTensorMode(), using(backend), triton:
        function = CALLS[operator](images, height, width)
        counted.kernels = 0  # those were its preparation's
        with counted:
            function()
    if kernel and not counted.kernels:
        return None
    return counted.operators + counted.kernels


def _suppression(images: int, height: int, width: int) -> Callable[[], object]:
    most = PROPOSALS_BEFORE_NMS[True]
    levels = _cells(height, width, STRIDES)
    count = images * sum(min(most, ANCHORS_A_CELL * cells) for cells in levels)
    boxes, scores = torch.empty(count, 4), torch.empty(count)
    groups = torch.empty(count, dtype=torch.int64)
    return lambda: grouped_nms(boxes, scores, groups, PROPOSAL_IOU, most)


def _assignment(images: int, height: int, width: int) -> Callable[[], object]:
    anchors = torch.empty(ANCHORS_A_CELL * sum(_cells(height, width, STRIDES)), 4)
    mask = torch.empty(images, OBJECTS, dtype=torch.bool)
    truths = PaddedInstances(torch.empty(images, OBJECTS, 4), mask)
    assigner = AnchorAssigner(**MATCHING)
    return lambda: assigner.assign_batch(anchors, truths)


def _sampling(images: int, height: int, width: int) -> Callable[[], object]:
    anchors = ANCHORS_A_CELL * sum(_cells(height, width, STRIDES))
    match_labels = torch.empty(images, anchors, dtype=torch.int8)
    keys = torch.empty(images, dtype=torch.int64)
    sampler = BalancedSampler(**SAMPLING, seed=0)
    return lambda: sampler.sample_batch(match_labels, keys)


def _alignment(
    images: int, height: int, width: int, *, gradients: bool
) -> Callable[[], object]:
    maps = [
        torch.empty(
            images,
            CHANNELS,
            height // stride,
            width // stride,
            dtype=torch.bfloat16,
            requires_grad=gradients,
        )
        for stride in POOLED
    ]
    rois = torch.empty(images * REGIONS, 5)
    layer = dict(type='RoIAlign', output_size=SIZE, sampling_ratio=2)
    extractor = PyramidRoIExtractor(layer, CHANNELS, list(POOLED))
    if not gradients:
        return lambda: extractor(maps, rois)
    pooled = extractor(maps, rois)
    return lambda: pooled.backward(torch.empty_like(pooled))


CALLS: dict[str, Callable[[int, int, int], Callable[[], object]]] = {
    'NMS': _suppression,
    'assignment': _assignment,
    'sampling': _sampling,
    'RoIAlign': partial(_alignment, gradients=False),
    'RoIAlign-backward': partial(_alignment, gradients=True),
}
