"""RoIAlign over the pyramid: our extractor beside torchvision's."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from mmfrcnn.modeling.roi_extractor import PyramidRoIExtractor
from mmfrcnn_benchmark.compare import Progress
from mmfrcnn_benchmark.machine import describe_machine
from mmfrcnn_benchmark.timing import clocked, take_turns
from mmfrcnn_benchmark.workload import Workload

REGIONS = 1000
CHANNELS = 256
STRIDES = (4, 8, 16, 32)


def compare_pooling(
    work: Workload, *, rounds: int, warmup: int, progress: Progress
) -> dict:
    """Time pooling of 1,000 regions of an image to 7x7, 2 x 2 samples a cell.

    Args:
        work (Workload): Size of the images, device.
        rounds (int): Measured turns of each.
        warmup (int): Turns before.
        progress (Callable): Told the progress.

    Returns:
        dict: ``seconds`` by what was timed.
    """
    maps, regions = _pyramid(work), _regions(work)
    ours = PyramidRoIExtractor(
        dict(type='RoIAlign', output_size=7, sampling_ratio=2), CHANNELS, list(STRIDES)
    )
    theirs = MultiScaleRoIAlign(['0', '1', '2', '3'], 7, 2)
    image = torch.zeros(len(regions), 1, device=regions.device)
    rois = torch.cat([image, regions], 1)

    def pool(extractor: nn.Module, levels: list[Tensor]) -> Tensor:
        if extractor is ours:
            return ours(levels, rois)
        named = {str(number): level for number, level in enumerate(levels)}
        return theirs(named, [regions], [(work.height, work.width)])

    def forward(extractor: nn.Module) -> None:
        with torch.inference_mode():
            pool(extractor, maps)

    def both(extractor: nn.Module) -> None:
        leaves = [level.detach().requires_grad_() for level in maps]
        pooled = pool(extractor, leaves)
        pooled.backward(torch.ones_like(pooled))

    runs = {
        f'{name}, {way.__name__}': clocked(partial(way, one), work.wait)
        for way in (forward, both)
        for name, one in (('mmfrcnn', ours), ('torchvision', theirs))
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
            work.images,
            CHANNELS,
            work.height // stride,
            work.width // stride,
            generator=generator,
        ).to(work.device)
        for stride in STRIDES
    ]


def _regions(work: Workload) -> Tensor:
    """Draw boxes with log-uniform sides from 16 px to 0.6 of the image's."""
    generator = torch.Generator().manual_seed(1)
    extent = torch.tensor([float(work.width), float(work.height)])
    share = torch.rand(REGIONS, 2, generator=generator)
    side = 16 * (0.6 * extent / 16) ** share
    corner = torch.rand(REGIONS, 2, generator=generator) * (extent - side)
    return torch.cat([corner, corner + side], 1).to(work.device)
