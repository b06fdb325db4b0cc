"""Random choices that depend on names alone: no state, no wait for the device.

A candidate's key is a hash of its name, and those with the largest keys are taken.

Shapes: N images, S candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmfrcnn.ops.backend import backend_of
from mmfrcnn.ops.random_keys import reference


@torch.library.custom_op('mmfrcnn::random_keys', mutates_args=())
def random_keys(
    match_labels: Tensor, draw: Tensor, images: Tensor, ids: Tensor
) -> Tensor:
    """Hash each (draw, image, candidate) to 31 bits, positives and negatives apart.

    Args:
        match_labels (Tensor): 0 negative, 1 positive, others neither; int8, shape
            (N, S).
        draw (Tensor): A number below 2**32, int64, shape ().
        images (Tensor): A number below 2**32 for each image, int64, shape (N,).
        ids (Tensor): A number below 2**31 for each candidate, int64, shape (S,).

    Returns:
        Tensor: Keys of the positives, then of the negatives, -1 for all others; int32,
        shape (2, N, S).
    """
    if backend_of(match_labels, _self_check) == 'cuda':
        from mmfrcnn.ops.random_keys import cuda

        return cuda.random_keys(match_labels, draw, images, ids)
    return reference.random_keys(match_labels, draw, images, ids)


@random_keys.register_fake
def _random_keys_shape(
    match_labels: Tensor, draw: Tensor, images: Tensor, ids: Tensor
) -> Tensor:
    return match_labels.new_empty((2, *match_labels.shape), dtype=torch.int32)


def largest(keys: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Take the ``most`` candidates of largest key.

    Args:
        keys (Tensor): Random keys, -1 for who is no candidate, shape (N, S).
        most (int): How many at most.

    Returns:
        tuple: indices (N, min(most, S)), the taken ones first; their number (N, 1).
    """
    top = keys.topk(min(most, keys.shape[1]), dim=1)
    return top.indices, (top.values >= 0).sum(1, keepdim=True)


def _self_check(device: torch.device) -> None:
    from mmfrcnn.ops.random_keys import cuda

    cuda.self_check(device)
