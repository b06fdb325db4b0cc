"""Which anchors of each image the RPN is trained on.

Shapes: N images, S anchors.
"""

from __future__ import annotations

from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.structures.anchor_grid import AnchorGrid
from mmfrcnn.structures.image_batch import ImageBatch


def trainable_anchors(
    grid: AnchorGrid, images: ImageBatch, border: float
) -> Tensor | None:
    """Say which anchors of each image may be trained on.

    Args:
        grid (AnchorGrid): The anchors.
        images (ImageBatch): With ``img_shape`` and ``pad_shape``.
        border (float): As in :meth:`AnchorGrid.valid`.

    Returns:
        Tensor | None: bool, shape (N, S); None where every anchor counts.

    Raises:
        UserError: If an image has none, as mmdet does.
    """
    padded = None
    y, x = grid.reach
    if any(h <= y or w <= x for h, w in (meta['pad_shape'][:2] for meta in images)):
        padded = images.padded_sizes
    inside = None
    if border >= 0:
        inside = images.sizes
        for meta in images:
            if not grid.any_inside(tuple(meta['img_shape'][:2]), border):
                raise _no_anchor(meta, border)
    return grid.valid(padded, inside, border)


def _no_anchor(meta: dict, border: float) -> UserError:
    """Say what is wrong with an image that the RPN could never be trained on."""
    image = meta.get('img_path') or f'An image of {meta.get("ori_shape", "unknown")} px'
    return UserError(
        f'{image}: resized to {tuple(meta["img_shape"][:2])} px (height, width), no '
        f'anchor lies inside it (train_cfg.rpn.allowed_border={border}). Leave it out, '
        'train on larger images, give anchor_generator smaller scales, or set '
        'allowed_border=-1, which lets anchors cross the border.'
    )
