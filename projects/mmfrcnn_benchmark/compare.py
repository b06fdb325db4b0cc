"""Whole steps and their stages, ours beside the peers'."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmfrcnn.training.stages import Region, Stopwatch, watched
from mmfrcnn_benchmark.contenders import Contender
from mmfrcnn_benchmark.machine import describe_machine, peak_memory_gib
from mmfrcnn_benchmark.observe import held_bytes, observe_step
from mmfrcnn_benchmark.replay import HeadReplay
from mmfrcnn_benchmark.timing import clocked, take_turns
from mmfrcnn_benchmark.workload import Scene, Workload, make_scenes

Progress = Callable[[str], None]


def compare_steps(
    kinds: list[type[Contender]],
    work: Workload,
    training: bool,
    *,
    rounds: int,
    warmup: int,
    progress: Progress,
    observe: bool = False,
) -> dict[str, Any]:
    """Time whole steps of training or inference.

    Args:
        kinds (list[type[Contender]]): Who takes part.
        work (Workload): On what.
        training (bool): Forward, backward and optimizer; else inference.
        rounds (int): Measured turns of each.
        warmup (int): Turns before.
        progress (Callable): Told the progress.
        observe (bool): Whether to look at what a step asks of the device, too.

    Returns:
        dict: ``seconds`` of each round by contender, and what they are; with
        ``observe``, ``observed``: what :func:`observe_step` says of each.
    """
    scenes = make_scenes(work)
    contenders, runs, observed = [], {}, {}
    for kind in kinds:
        progress(f'building {kind.name}')
        held = held_bytes(work.device)
        contender = kind(work, training)
        step = partial(contender.step, contender.prepare(scenes))
        run = clocked(step, work.wait)
        choose_memory_order(contender, run, progress)
        contenders.append(contender)
        runs[contender.name] = run
        if observe:
            observed[contender.name] = observe_step(step, work, held)
    seconds = take_turns(runs, rounds, warmup, progress)
    result = describe('train' if training else 'infer', work, contenders)
    return result | {'seconds': seconds} | ({'observed': observed} if observe else {})


def compare_stages(
    kinds: list[type[Contender]],
    work: Workload,
    training: bool,
    *,
    rounds: int,
    warmup: int,
    own_work: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Time each stage of the data flow.

    Args:
        kinds (list[type[Contender]]): Who takes part.
        work (Workload): On what.
        training (bool): Training, backward in one row; else inference.
        rounds (int): Measured turns of each.
        warmup (int): Turns before.
        own_work (bool): Only what the heads do besides convolutions and linear layers:
            these, backbone and neck answer from memory.
        progress (Callable): Told the progress.

    Returns:
        dict: ``stages``: for each contender and round, seconds by stage.
    """
    scenes = make_scenes(work)
    contenders, runs = [], {}
    replay: Callable[[Contender], AbstractContextManager] = _no_replay
    if own_work:
        replay = _replay_maker(kinds[0](work, training), scenes)
    for kind in kinds:
        progress(f'building {kind.name}')
        contender = kind(work, training)
        run = _stage_run(contender, contender.prepare(scenes), replay)
        choose_memory_order(contender, partial(_total, run), progress)
        contenders.append(contender)
        runs[contender.name] = run
    stages = take_turns(runs, rounds, warmup, progress)
    name = 'heads' if own_work else 'stages'
    return describe(name, work, contenders) | {'training': training, 'stages': stages}


def _total(run: Callable[[], dict[str, float]]) -> float:
    return sum(run().values())


def _no_replay(contender: Contender) -> AbstractContextManager:
    return nullcontext()


def _stage_run(
    contender: Contender, batch: Any, replay: Callable[[Contender], Any]
) -> Callable[[], dict[str, float]]:
    """Return a function: one step, answered with the seconds of its stages."""
    watch = Stopwatch(contender.work.wait)
    regions = [
        *contender.regions(),
        Region(contender, 'backward', 'backward'),
        Region(contender, 'update', 'optimizer'),
    ]
    contexts: dict[bool, Any] = {}

    def run() -> dict[str, float]:
        order = contender.channels_last
        if order not in contexts:
            contexts.clear()  # what the other order remembered
            contexts[order] = replay(contender)
        with contexts[order], watched(regions, watch.stage):
            watch.reset()
            contender.step(batch)
            return watch.stop()

    return run


def _replay_maker(
    first: Contender, scenes: list[Scene]
) -> Callable[[Contender], HeadReplay]:
    """Return what makes a contender skip its layers, all on one pyramid."""
    pyramid = make_pyramid(first, scenes)
    gradients: dict[tuple, Tensor] = {}

    def make(contender: Contender) -> HeadReplay:
        order = (
            torch.channels_last if contender.channels_last else torch.contiguous_format
        )
        maps = [level.contiguous(memory_format=order) for level in pyramid]
        return HeadReplay(contender, maps, gradients)

    return make


@torch.no_grad()
def make_pyramid(contender: Contender, scenes: list[Scene]) -> list[Tensor]:
    """Return P2 to P6 of the scenes, image by image to spare memory."""
    model = contender.model
    images = []
    with contender.work.autocast():
        for scene in scenes:
            data = model.data_preprocessor(contender.prepare([scene]), False)
            images.append(model.extract_feat(data['inputs']))
    return [torch.cat(level) for level in zip(*images, strict=True)]


def choose_memory_order(
    contender: Contender, run: Callable[[], float], progress: Progress
) -> None:
    """Give a contender the memory order that it is faster in, by a trial."""
    times = {}
    for channels_last in (False, True):
        contender.set_memory_format(channels_last)
        run()
        times[channels_last] = run()
        order = 'channels_last' if channels_last else 'contiguous'
        progress(f'{contender.name} {order}: {times[channels_last]:.3g} s')
    contender.set_memory_format(times[True] < times[False])


def describe(
    benchmark: str, work: Workload, contenders: list[Contender]
) -> dict[str, Any]:
    """Return what a reader must know of a measurement."""
    return {
        'benchmark': benchmark,
        'workload': dataclasses.asdict(work),
        'contenders': {
            one.name: {'version': one.version(), 'settings': one.settings}
            for one in contenders
        },
        'machine': describe_machine(work.device),
        'peak_memory_gib': peak_memory_gib(work.device),
    }
