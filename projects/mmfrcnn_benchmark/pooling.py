"""RoIAlign over the pyramid: our extractor beside torchvision's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from mmfrcnn.modeling.roi_extractor import PyramidRoIExtractor
from mmfrcnn_benchmark.compare import Progress
from mmfrcnn_benchmark.machine import describe_machine
from mmfrcnn_benchmark.timing import clocked, take_turns
from mmfrcnn_benchmark.workload import Workload

REGIONS = 1000
CHANNELS = 256
STRIDES = (4, 8, 16, 32)
SIZE = 7

Pool = Callable[[list[Tensor]], Tensor]


class Pooling:
    """Regions of a batch, and the pyramid that they are pooled from.

    K regions an image are pooled to (N * K, 256, 7, 7), 2 x 2 samples a cell.

    Args:
        work (Workload): Number and size of the images, precision of the maps, device.
        regions (int): K.
        channels_last (bool): Memory order of the maps.
    """

    def __init__(
        self, work: Workload, regions: int = REGIONS, channels_last: bool = False
    ) -> None:
        self.work = work
        order = torch.channels_last if channels_last else torch.contiguous_format
        dtype = getattr(torch, work.precision)
        self.maps = [one.to(dtype, memory_format=order) for one in _pyramid(work)]
        self.boxes = _regions(work, regions).split(regions)
        self.rois = torch.cat(
            [
                torch.cat([boxes.new_full((len(boxes), 1), image), boxes], 1)
                for image, boxes in enumerate(self.boxes)
            ]
        )
        layer = dict(type='RoIAlign', output_size=SIZE, sampling_ratio=2)
        self._ours = PyramidRoIExtractor(layer, CHANNELS, list(STRIDES))
        self._theirs = MultiScaleRoIAlign(['0', '1', '2', '3'], SIZE, 2)

    def ours(self, maps: list[Tensor]) -> Tensor:
        """Pool as our extractor does."""
        return self._ours(maps, self.rois)

    def theirs(self, maps: list[Tensor]) -> Tensor:
        """Pool as torchvision does: half precision as its autocast has it."""
        named = {str(number): level for number, level in enumerate(maps)}
        sizes = [(self.work.height, self.work.width)] * self.work.images
        with self.work.autocast():
            return self._theirs(named, list(self.boxes), sizes)

    def forward(self, pool: Pool) -> Tensor:
        """Pool without gradients."""
        with torch.inference_mode():
            return pool(self.maps)

    def both(self, pool: Pool) -> list[Tensor]:
        """Pool, and return the gradient of the sum in every map."""
        leaves = [level.detach().requires_grad_() for level in self.maps]
        pooled = pool(leaves)
        pooled.backward(torch.ones_like(pooled))
        return [leaf.grad for leaf in leaves]


def compare_pooling(
    work: Workload, *, rounds: int, warmup: int, progress: Progress
) -> dict:
    """Time pooling of 1,000 regions an image.

    Args:
        work (Workload): Number and size of the images, device.
        rounds (int): Measured turns of each.
        warmup (int): Turns before.
        progress (Callable): Told the progress.

    Returns:
        dict: ``seconds`` by what was timed.
    """
    pooling = Pooling(work)
    runs = {
        f'{name}, {way.__name__}': clocked(partial(way, pool), work.wait)
        for way in (pooling.forward, pooling.both)
        for name, pool in (('mmfrcnn', pooling.ours), ('torchvision', pooling.theirs))
    }
    seconds = take_turns(runs, rounds, warmup, progress)
    return dict(
        benchmark='pooling',
        workload=vars(work),
        machine=describe_machine(work.device),
        seconds=seconds,
    )


def _pyramid(work: Workload) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(
            1,
            CHANNELS,
            work.height // stride,
            work.width // stride,
            generator=generator,
        )
        .to(work.device)
        .repeat(work.images, 1, 1, 1)
        for stride in STRIDES
    ]


def _regions(work: Workload, regions: int) -> Tensor:
    """Draw boxes with log-uniform sides from 16 px to 0.6 of the image's."""
    generator = torch.Generator().manual_seed(1)
    count = work.images * regions
    extent = torch.tensor([float(work.width), float(work.height)])
    share = torch.rand(count, 2, generator=generator)
    side = 16 * (0.6 * extent / 16) ** share
    corner = torch.rand(count, 2, generator=generator) * (extent - side)
    return torch.cat([corner, corner + side], 1).to(work.device)
