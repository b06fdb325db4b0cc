"""What a step asks of a GPU besides its time: memory, waits, launches, idle moments."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from mmfrcnn_benchmark.timing import clocked
from mmfrcnn_benchmark.workload import Workload

# In a trace: enough that the first one's start does not matter.
STEPS = 3


def observe_step(
    step: Callable[[], object], work: Workload, held: int = 0
) -> dict[str, Any]:
    """Look at a step that has run before.

    Args:
        step (Callable): A training step, or an inference.
        work (Workload): Where it runs.
        held (int): Bytes on the device that belong to others.

    Returns:
        dict: ``peak_gib`` of memory; ``waits``: how often the host waits for the
        device; ``launches`` (kernels and copies) and ``busy``, the share of the step's
        time in which one of them runs. None where there is no GPU to say so; without
        one the last two speak of the processor's operators.
    """
    intervals = trace(step, work)
    seconds = min(clocked(step, work.wait)() for _ in range(STEPS))
    busy = union(intervals) / STEPS / seconds
    return dict(
        peak_gib=peak_gib(step, work, held),
        waits=count_waits(step) if _is_gpu(work) else None,
        launches=len(intervals) / STEPS if intervals else None,
        busy=min(busy, 1.0) if intervals else None,
    )


def held_bytes(device: str) -> int:
    """Return what tensors hold on a GPU now; 0 on a CPU."""
    return torch.cuda.memory_allocated(device) if device.startswith('cuda') else 0


def peak_gib(
    function: Callable[[], object], work: Workload, held: int = 0
) -> float | None:
    """Return the most memory that tensors hold on a GPU during a call, in GiB.

    Args:
        function (Callable): What is called.
        work (Workload): Where it runs.
        held (int): Bytes that do not count.
    """
    if not _is_gpu(work):
        return None
    torch.cuda.reset_peak_memory_stats(work.device)
    function()
    return (torch.cuda.max_memory_allocated(work.device) - held) / 2**30


def count_waits(function: Callable[[], object]) -> int:
    """Count the calls of CUDA that make the host wait, as torch knows them."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            function()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    said = [str(one.message) for one in caught]
    return sum('called a synchronizing CUDA operation' in text for text in said)


def trace(step: Callable[[], object], work: Workload) -> list[tuple[float, float]]:
    """Return begin and end, in seconds, of all that the device did in some steps."""
    gpu = _is_gpu(work)
    activity = ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU
    where = DeviceType.CUDA if gpu else DeviceType.CPU
    with profile(activities=[activity]) as profiler:
        for _ in range(STEPS):
            step()
        work.wait()
    return [
        (event.time_range.start / 1e6, event.time_range.end / 1e6)
        for event in profiler.events()
        # Names that code gives to what it does are drawn on the device's line as well.
        if event.device_type == where and not event.is_user_annotation
    ]


def union(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the time that is covered by one interval or more.

    Example:
        >>> union([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.0, 2.0)])
        4.0
    """
    covered, until = 0.0, float('-inf')
    for begin, end in sorted(intervals):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered


def _is_gpu(work: Workload) -> bool:
    return work.device.startswith('cuda')
