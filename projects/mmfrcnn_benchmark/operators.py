"""The heads' operators alone: our kernels, plain torch, and the peers'.

Shapes: N images, S anchors of all levels, G ground truths an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from mmdet.models.task_modules import AnchorGenerator, MaxIoUAssigner, RandomSampler
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import batched_nms

from mmfrcnn.modeling.assigner import AnchorAssigner
from mmfrcnn.modeling.sampler import BalancedSampler
from mmfrcnn.ops.backend import Backend, using
from mmfrcnn.ops.nms import grouped_nms
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn_benchmark.compare import Progress
from mmfrcnn_benchmark.contenders import PROPOSALS_BEFORE_NMS
from mmfrcnn_benchmark.machine import describe_machine
from mmfrcnn_benchmark.observe import held_bytes, peak_gib
from mmfrcnn_benchmark.parts import one_line
from mmfrcnn_benchmark.pooling import Pooling
from mmfrcnn_benchmark.timing import clocked, take_turns
from mmfrcnn_benchmark.workload import Workload, make_scenes

# The standard's numbers in training (Lin et al. 2017).
STRIDES = (4, 8, 16, 32, 64)
PROPOSAL_IOU = 0.7
MATCHING = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3)
SAMPLING = dict(num=256, pos_fraction=0.5, add_gt_as_proposals=False)
REGIONS = 512

# What is timed of ours, by the device: a label, and the implementation.
IMPLEMENTATIONS: dict[str, dict[str, Backend]] = {
    'cuda': {'kernel': 'cuda', 'plain torch': 'reference'},
    'cpu': {'for CPUs': 'cpu', 'plain torch': 'reference'},
}
# Calls between two waits on a GPU, where a call may be shorter than a wait.
CALLS = 10


class Operator(NamedTuple):
    """One operator on a batch, ours and a peer's."""

    ours: Callable[[], Sequence[Tensor]]
    theirs: Callable[[], object]
    peer: str


def compare_operator(
    name: str, work: Workload, *, rounds: int, warmup: int, progress: Progress
) -> dict[str, Any]:
    """Time one operator of a training step.

    Args:
        name (str): A key of ``OPERATORS``.
        work (Workload): On what.
        rounds (int): Measured turns of each.
        warmup (int): Turns before.
        progress (Callable): Told the progress.

    Returns:
        dict: ``seconds`` of each round and ``peak_gib`` of memory beyond the input, by
        what was timed: our implementations and the ``peer``; ``differing``: the share
        of entries that our implementations do not agree on; ``failed``: why, of each
        that did not run.
    """
    device = torch.device(work.device).type
    operator = OPERATORS[name](work)
    functions: dict[str, Callable] = {
        label: partial(_under, backend, operator.ours)
        for label, backend in IMPLEMENTATIONS[device].items()
    }
    functions[operator.peer] = operator.theirs
    failed, outcomes, peaks = {}, {}, {}
    for label in list(functions):
        progress(f'{name}: {label}')
        try:
            outcomes[label] = functions[label]()
            peaks[label] = peak_gib(functions[label], work, held_bytes(work.device))
        except Exception as error:  # the others are measured all the same
            failed[label] = one_line(error)
            del functions[label]
    ours = [outcomes[label] for label in IMPLEMENTATIONS[device] if label in outcomes]
    calls = CALLS if device == 'cuda' else 1
    runs = {label: clocked(f, work.wait, calls) for label, f in functions.items()}
    return dict(
        benchmark='operator',
        operator=name,
        peer=operator.peer,
        workload=vars(work),
        machine=describe_machine(work.device),
        seconds=take_turns(runs, rounds, warmup, progress),
        peak_gib=peaks,
        differing=differing(*ours) if len(ours) == 2 else None,
        failed=failed,
    )


def _under(backend: Backend, function: Callable) -> Any:
    with using(backend):
        return function()


def differing(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Return the share of entries that differ: numbers by more than 1 in 100.

    Half-precision results are rounded to 1 in 256; what is no float is equal or not.
    """
    pairs = list(zip(first, second, strict=True))
    unequal = sum(
        int((~torch.isclose(a.float(), b.float(), 1e-2, 1e-2, equal_nan=True)).sum())
        for a, b in pairs
    )
    return unequal / max(1, sum(a.numel() for a, _ in pairs))


def anchors_of(work: Workload) -> list[Tensor]:
    """Return the anchors of each level, xyxy, (S_l, 4): 3 a cell."""
    generator = AnchorGenerator(strides=STRIDES, ratios=[0.5, 1.0, 2.0], scales=[8])
    sizes = [
        (math.ceil(work.height / stride), math.ceil(work.width / stride))
        for stride in STRIDES
    ]
    return generator.grid_priors(sizes, device=work.device)


def suppression(work: Workload) -> Operator:
    """NMS of the proposals within each (image, level), as they come from the RPN.

    Candidates are random anchors, moved by a tenth of their size: they overlap as
    those of an untrained detector do.
    """
    generator = torch.Generator().manual_seed(0)
    boxes, groups, most = [], [], PROPOSALS_BEFORE_NMS[True]
    levels = [level.cpu() for level in anchors_of(work)]
    for group in range(work.images * len(levels)):
        anchors = levels[group % len(levels)]
        chosen = anchors[torch.randperm(len(anchors), generator=generator)[:most]]
        side = (chosen[:, 2:] - chosen[:, :2]).repeat(1, 2)
        noise = torch.randn(chosen.shape, generator=generator)
        boxes.append(chosen + 0.1 * side * noise)
        groups.append(torch.full((len(chosen),), group))
    scores = torch.rand(sum(map(len, boxes)), generator=generator)
    extent = torch.tensor([work.width, work.height]).repeat(2)
    flat = torch.cat(boxes).clamp(min=0).minimum(extent).to(work.device)
    group_of, score = torch.cat(groups).to(work.device), scores.to(work.device)
    return Operator(
        lambda: [grouped_nms(flat, score, group_of, PROPOSAL_IOU, most)],
        lambda: batched_nms(flat, score, group_of, PROPOSAL_IOU),
        'torchvision',
    )


def assignment(work: Workload) -> Operator:
    """Matching of all anchors of the batch with its ground truths."""
    anchors = torch.cat(anchors_of(work))
    truths = [scene.boxes.to(work.device) for scene in make_scenes(work)]
    labels = torch.zeros(work.objects, dtype=torch.int64, device=work.device)
    boxes = torch.stack(truths)
    padded = PaddedInstances(boxes, torch.ones_like(boxes[..., 0], dtype=torch.bool))
    assigner, stock = AnchorAssigner(**MATCHING), MaxIoUAssigner(**MATCHING)
    priors = InstanceData(priors=anchors)

    def ours() -> list[Tensor]:
        found = assigner.assign_batch(anchors, padded)
        return [found.match_labels, found.matched_idxs, found.max_iou]

    def theirs() -> list:
        return [
            stock.assign(priors, InstanceData(bboxes=one, labels=labels))
            for one in truths
        ]

    return Operator(ours, theirs, 'mmdet')


def sampling(work: Workload) -> Operator:
    """A draw of 256 matched anchors of each image."""
    matched = assignment(work)
    match_labels = matched.ours()[0]
    results = matched.theirs()
    priors = InstanceData(priors=torch.cat(anchors_of(work)))
    truths = [
        InstanceData(bboxes=scene.boxes.to(work.device), labels=scene.labels)
        for scene in make_scenes(work)
    ]
    sampler = BalancedSampler(**SAMPLING, seed=0)
    stock = RandomSampler(**SAMPLING)
    keys = torch.arange(work.images, device=work.device)

    def ours() -> list[Tensor]:
        sampler.draws = 0  # each call draws the same
        return list(vars(sampler.sample_batch(match_labels, keys)).values())

    def theirs() -> list:
        pairs = zip(results, truths, strict=True)
        return [stock.sample(result, priors, truth) for result, truth in pairs]

    return Operator(ours, theirs, 'mmdet')


def alignment(work: Workload, *, gradients: bool) -> Operator:
    """RoIAlign of 512 regions an image.

    Our implementations get maps as our detector has them on a GPU, channels last,
    torchvision's the contiguous ones that it is made for.
    """
    here = Pooling(work, REGIONS, channels_last=torch.device(work.device).type != 'cpu')
    there = Pooling(work, REGIONS)
    if gradients:
        ours, theirs = partial(here.both, here.ours), partial(there.both, there.theirs)
        return Operator(ours, theirs, 'torchvision')
    return Operator(
        lambda: [here.forward(here.ours)],
        partial(there.forward, there.theirs),
        'torchvision',
    )


OPERATORS: dict[str, Callable[[Workload], Operator]] = {
    'NMS': suppression,
    'assignment': assignment,
    'RoIAlign': partial(alignment, gradients=False),
    'RoIAlign-backward': partial(alignment, gradients=True),
    'sampling': sampling,
}
# Boxes are float32 always; maps have the precision of the workload.
OF_MAPS = ('RoIAlign', 'RoIAlign-backward')
