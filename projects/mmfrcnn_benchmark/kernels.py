"""What Triton's kernels take of each card, compiled ahead of time: no card is needed.

A kernel that keeps more values than a thread has registers spills them into memory, and
one that asks for more shared memory than a block may have does not start at all.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmfrcnn.errors import UserError
from mmfrcnn_benchmark.compare import Progress
from mmfrcnn_benchmark.machine import describe_machine


@dataclass(frozen=True)
class Card:
    """What a block may have on cards of one compute capability.

    Registers are 255 a thread and 65,536 a block on all of them (CUDA C Programming
    Guide, "Technical Specifications per Compute Capability").

    Args:
        capability (int): 86 is sm_86.
        example (str): A card that has it.
        shared (int): Bytes of shared memory a block may ask for.
    """

    capability: int
    example: str
    shared: int


CARDS = (
    Card(75, 'T4', 64 << 10),
    Card(80, 'A100', 163 << 10),
    Card(86, 'RTX 3090', 99 << 10),
    Card(89, 'RTX 4090', 99 << 10),
    Card(90, 'H100', 227 << 10),
    Card(100, 'B200', 227 << 10),
    Card(120, 'RTX 5090', 99 << 10),
)
REGISTERS_A_THREAD = 255
REGISTERS_A_BLOCK = 65_536
WARP = 32
# What rounds once where operators round twice, or not to the nearest, or drops the
# smallest numbers.
INEXACT = re.compile(r'\b(?:fma|div\.full|div\.approx|rcp|ex2|lg2)\.\S+|\S+\.ftz\S*')
ATOMIC = re.compile(r'\b(?:atom|red)\.\S+')


@dataclass(frozen=True)
class Kernel:
    """A kernel as an op launches it.

    Args:
        name (str): Of the row.
        function (Any): What ``triton.jit`` made.
        arguments (dict): In order: Triton's type of a run-time argument (``'*fp32'``,
            ``'i32'``, ``'fp32'``; of a tuple, a tuple), or the value of a
            ``tl.constexpr``.
        num_warps (int): As launched.
        num_stages (int): As launched.
        enable_fp_fusion (bool): As launched.
        exact (bool): Gives the bits of plain operators.
        ordered (bool): Gives the same bits in every run: nothing atomic is in it.
    """

    name: str
    function: Any
    arguments: dict[str, Any]
    num_warps: int = 4
    num_stages: int = 3
    enable_fp_fusion: bool = True
    exact: bool = False
    ordered: bool = False


def _match() -> Iterator[Kernel]:
    from mmfrcnn.ops.match import cuda

    boxes = dict(priors='*fp32', gt_boxes='*fp32', gt_mask='*i1', excluded='*i1')
    sizes = dict(count='i32', slots='i32', stride='i32')
    shape = dict(every=False, block=cuda.BLOCK, width=cuda.TILE)
    found = dict(max_iou='*fp32', nearest='*i32', best='*i64')
    options = dict(has_excluded=True, find_best=True)
    yield Kernel(
        'match: nearest',
        cuda.nearest_kernel,
        {**boxes, **found, **sizes, **options, **shape},
        exact=True,
        **cuda.LAUNCH,
    )
    found = dict(best='*i64', best_of='*i32')
    options = dict(min_best_iou='fp32', has_excluded=True, all_ties=True)
    yield Kernel(
        'match: ties',
        cuda.ties_kernel,
        {**boxes, **found, **sizes, **options, **shape},
        exact=True,
        **cuda.LAUNCH,
    )


def _roi_align() -> Iterator[Kernel]:
    """The kernels of a pyramid of four levels with 256 channels, pooled to 7 x 7."""
    from mmfrcnn.ops.roi_align import cuda

    sizes = {name: ('fp32',) * 4 for name in ('heights', 'widths', 'scales')}
    rule = dict(channels=256, size=7, ratio=0, aligned=True)
    for kind in ('fp32', 'fp16', 'bf16'):
        maps = dict(maps=(f'*{kind}',) * 4, **sizes, rois='*fp32')
        given = dict(levels='*i64', pooled=f'*{kind}', images='fp32')
        shape = dict(cells=8, block=cuda.FORWARD_ELEMENTS // 8)
        yield Kernel(
            f'RoIAlign: forward, {kind}',
            cuda.align_kernel,
            {**maps, **given, **rule, **shape},
        )
        given = dict(order='*i64', bounds='*i64', grad=f'*{kind}', images='fp32')
        shape = dict(tile=cuda.TILE, block=cuda.TILE_CHANNELS, chunk=cuda.CHUNK)
        yield Kernel(
            f'RoIAlign: backward, {kind}',
            cuda.backward_kernel,
            {**maps, **given, **rule, **shape},
            ordered=True,
            num_warps=cuda.BACKWARD_WARPS,
        )


def _nms() -> Iterator[Kernel]:
    from mmfrcnn.ops.nms import cuda

    yield Kernel(
        'grouped NMS',
        cuda.settle,
        dict.fromkeys(('x1', 'y1', 'x2', 'y2'), '*fp32')
        | dict(start='*i32', keep='*i8', count='i32', threshold='fp32', share='fp32')
        | dict(tile=cuda.TILE),
        num_warps=cuda.WARPS,
        num_stages=1,
        enable_fp_fusion=False,
    )


def _random_keys() -> Iterator[Kernel]:
    from mmfrcnn.ops.random_keys import cuda

    names = dict(draw='*i64', images='*i64', ids='*i64')
    given = dict(match_labels='*i8', **names, keys='*i32', candidates='i32')
    arguments = dict(given, block=cuda.BLOCK)
    yield Kernel('random keys', cuda.keys_kernel, arguments, **cuda.LAUNCH)


# One function an op, which imports its kernels, and Triton, when they are asked for.
SOURCES: tuple[Callable[[], Iterator[Kernel]], ...] = (
    _match,
    _nms,
    _random_keys,
    _roi_align,
)


def compile_kernels(progress: Progress) -> dict[str, Any]:
    """Compile every kernel of the package for every card.

    Args:
        progress (Callable): Told the progress.

    Returns:
        dict: ``kernels``: what :func:`compile_kernel` says, kernel by kernel.

    Raises:
        UserError: If Triton is not installed, or interprets.
    """
    try:
        import triton

        kernels = [kernel for source in SOURCES for kernel in source()]
    except ImportError as error:
        raise UserError(f'--kernels compiles with Triton: {error}') from error
    rows = []
    for kernel in kernels:
        progress(f'compiling {kernel.name}')
        rows.extend(compile_kernel(kernel, card) for card in CARDS)
    machine = dict(describe_machine('cpu'), Triton=triton.__version__)
    return dict(benchmark='kernels', machine=machine, kernels=rows)


def compile_kernel(kernel: Kernel, card: Card) -> dict[str, Any]:
    """Compile a kernel for a card.

    Returns:
        dict: ``kernel``, ``capability``, ``threads`` of a block; ``registers`` and
        ``spilled`` (bytes of local memory) of a thread, ``shared`` (bytes) of a block;
        ``rounded``: an exact kernel's instructions that round in a way of their own;
        ``atomic``: those of an ordered one whose order nobody gives.

    Raises:
        UserError: If Triton interprets.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if not isinstance(kernel.function, triton.JITFunction):
        raise UserError('Triton compiles where TRITON_INTERPRET=0 when it is imported.')
    types = {
        name: value if _is_type(value) else 'constexpr'
        for name, value in kernel.arguments.items()
    }
    values = {n: v for n, v in kernel.arguments.items() if not _is_type(v)}
    # Torch's allocations begin at multiples of 16 bytes, and Triton counts on it.
    aligned = {
        place: [['tt.divisibility', 16]]
        for place, kind in _places(types)
        if kind.startswith('*')
    }
    compiled = triton.compile(
        ASTSource(kernel.function, types, values, aligned),
        target=GPUTarget('cuda', card.capability, WARP),
        options=dict(
            num_warps=kernel.num_warps,
            num_stages=kernel.num_stages,
            enable_fp_fusion=kernel.enable_fp_fusion,
        ),
    )
    usage = _usage(compiled.asm['cubin'])
    return dict(
        kernel=kernel.name,
        capability=card.capability,
        threads=WARP * compiled.metadata.num_warps,
        registers=usage['REG'],
        spilled=usage['STACK'] + usage['LOCAL'],
        shared=max(usage['SHARED'], compiled.metadata.shared),
        rounded=INEXACT.findall(compiled.asm['ptx']) if kernel.exact else [],
        atomic=ATOMIC.findall(compiled.asm['ptx']) if kernel.ordered else [],
    )


def excess(row: dict[str, Any]) -> list[str]:
    """Say what a row of :func:`compile_kernel` takes that its card does not have."""
    (card,) = (card for card in CARDS if card.capability == row['capability'])
    limits = {
        'spilled bytes': (row['spilled'], 0),
        'registers a thread': (row['registers'], REGISTERS_A_THREAD),
        'registers': (row['registers'] * row['threads'], REGISTERS_A_BLOCK),
        'bytes of shared memory': (row['shared'], card.shared),
        'inexact instructions': (len(row['rounded']), 0),
        'atomic instructions': (len(row['atomic']), 0),
    }
    return [
        f'{row["kernel"]} on sm_{card.capability}: {taken:,} {what}, of {most:,}'
        for what, (taken, most) in limits.items()
        if taken > most
    ]


def _is_type(value: Any) -> bool:
    return isinstance(value[0] if isinstance(value, tuple) else value, str)


def _places(types: dict[str, Any]) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield where each argument stands, and its type: those of a tuple one by one."""
    for i, kind in enumerate(types.values()):
        if isinstance(kind, tuple):
            yield from (((i, j), one) for j, one in enumerate(kind))
        else:
            yield (i,), kind


def _usage(cubin: bytes) -> dict[str, int]:
    """Ask CUDA's tool, which comes with Triton, what the function of a file uses."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'kernel.cubin'
        file.write_bytes(cubin)
        done = subprocess.run(
            [knobs.nvidia.cuobjdump.path, '-res-usage', str(file)],
            capture_output=True,
            text=True,
            check=True,
        )
    pairs = re.findall(r'\b(REG|STACK|SHARED|LOCAL):(\d+)', done.stdout)
    return {name: int(value) for name, value in pairs}
