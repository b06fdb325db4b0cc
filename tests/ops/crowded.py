"""Compile the package's kernels, and one that no card can run well, into a JSON file.

A process of its own, since Triton either compiles or interprets, from its import on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import triton
import triton.language as tl
from mmfrcnn_benchmark.kernels import CARDS, Kernel, compile_kernel, compile_kernels


@triton.jit
def crowded(x, y, size: tl.constexpr):
    """Hold more values than a block has registers until the largest is known."""
    at = tl.arange(0, size)
    values = tl.load(x + at)
    tl.store(y + at, values - tl.max(values))


if __name__ == '__main__':
    kernel = Kernel('crowded', crowded, dict(x='*fp32', y='*fp32', size=16_384), 1)
    results = dict(
        compile_kernels(progress=print), crowded=compile_kernel(kernel, CARDS[1])
    )
    Path(sys.argv[1]).write_text(json.dumps(results))
