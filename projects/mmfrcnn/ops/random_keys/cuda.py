"""The hash as one Triton kernel: each label is read once, each key written once.

Shapes: N images, S candidates.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmfrcnn.ops.random_keys import reference

BLOCK = 1024  # candidates a program
LAUNCH = dict(num_warps=4)

SPREAD = tl.constexpr(reference.SPREAD)
FIRST_SHIFT, FIRST = (tl.constexpr(one) for one in reference.ROUNDS[0])
SECOND_SHIFT, SECOND = (tl.constexpr(one) for one in reference.ROUNDS[1])
LAST_SHIFT = tl.constexpr(reference.LAST_SHIFT)


def random_keys(
    match_labels: Tensor, draw: Tensor, images: Tensor, ids: Tensor
) -> Tensor:
    """Launch; see :func:`mmfrcnn.ops.random_keys.random_keys`."""
    count, candidates = match_labels.shape
    keys = match_labels.new_empty((2, count, candidates), dtype=torch.int32)
    if keys.numel():
        grid = triton.cdiv(candidates, BLOCK), count
        with torch.cuda.device_of(keys):
            keys_kernel[grid](
                match_labels.contiguous(),
                draw,
                images.contiguous(),
                ids.contiguous(),
                keys,
                candidates,
                block=BLOCK,
                **LAUNCH,
            )
    return keys


@triton.jit(do_not_specialize=('candidates',))
def keys_kernel(
    match_labels,  # (N, S)
    draw,  # ()
    images,  # (N,)
    ids,  # (S,)
    keys,  # out, (2, N, S)
    candidates,
    block: tl.constexpr,
):
    """Hash a block of one image's candidates."""
    row, rows = tl.program_id(1).to(tl.int64), tl.num_programs(1).to(tl.int64)
    place = tl.program_id(0) * block + tl.arange(0, block)
    real = place < candidates
    image = _mix((tl.load(images + row) ^ tl.load(draw)).to(tl.uint32))
    name = tl.load(ids + place, real, 0).to(tl.uint32) * SPREAD
    key = (_mix(image ^ name) >> 1).to(tl.int32)
    label = tl.load(match_labels + row * candidates + place, real, -1)
    positives = keys + row * candidates + place
    negatives = positives + rows * candidates
    tl.store(positives, tl.where(label == 1, key, -1), real)
    tl.store(negatives, tl.where(label == 0, key, -1), real)


@triton.jit
def _mix(x):
    x = (x ^ (x >> FIRST_SHIFT)) * FIRST
    x = (x ^ (x >> SECOND_SHIFT)) * SECOND
    return x ^ (x >> LAST_SHIFT)


def self_check(device: torch.device) -> None:
    """Hash names of every size by the kernel and by plain operators.

    Raises:
        AssertionError: If a key differs.
    """
    ids = (torch.arange(1500, device=device) * 0x15D4E9B) & 0x7FFFFFFF
    images = torch.tensor([0, 7, 0xFFFFFFFF], device=device)
    draw = torch.tensor(0x9ABCDEF0, device=device)
    match_labels = (ids % 3 - 1).to(torch.int8).expand(3, -1)
    given = match_labels, draw, images, ids
    found, expected = random_keys(*given), reference.random_keys(*given)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
