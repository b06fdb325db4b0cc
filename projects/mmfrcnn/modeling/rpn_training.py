"""What an RPN head is trained on, and its losses.

Shapes: N images, S anchors, K samples an image, C objectness channels (1 sigmoid, 2
softmax).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.losses import box_loss, sample_weights
from mmfrcnn.modeling.per_image import assign_batch, sample_batch
from mmfrcnn.modeling.sampled import describe_anchors
from mmfrcnn.ops.rows import gather_rows
from mmfrcnn.structures.anchor_grid import AnchorGrid
from mmfrcnn.structures.image_batch import ImageBatch
from mmfrcnn.structures.sample import Sample


def sample_anchors(
    assigner: Any, sampler: Any, grid: AnchorGrid, images: ImageBatch, border: float
) -> tuple[Sample, Tensor, dict[str, Tensor]]:
    """Match the anchors with the ground truth and draw what is trained on.

    Args:
        assigner (Any): Of mmdet's interface.
        sampler (Any): Of mmdet's interface.
        grid (AnchorGrid): The anchors.
        images (ImageBatch): With the ground truth and ignored regions.
        border (float): As in :meth:`AnchorGrid.valid`.

    Returns:
        tuple: The sampled anchors; the box of the ground truth that each is matched
        with, of no matter where it is no positive, xyxy, shape (N, K, 4); and figures
        for the log, see :func:`mmfrcnn.modeling.sampled.describe_anchors`.
    """
    gt, valid = images.gt, trainable_anchors(grid, images, border)
    assignment = assign_batch(assigner, grid.boxes, gt, images.ignored, valid)
    sample = sample_batch(
        sampler, assignment, images.keys, grid.boxes, gt, prior_ids=grid.ids
    )
    matched_idxs = assignment.matched_idxs.gather(1, sample.indices)
    figures = describe_anchors(sample, assignment, gt)
    return sample, gather_rows(gt.boxes, matched_idxs), figures


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
        UserError: If an image has none; see :func:`check_anchors`.
    """
    check_anchors(grid, images, border)
    padded = images.padded_sizes if reach_padding(grid, images) else None
    return grid.valid(padded, images.sizes, border)


def reach_padding(grid: AnchorGrid, images: Iterable[dict]) -> bool:
    """Whether the anchors reach beyond an image's own padding, into the batch's."""
    y, x = grid.reach
    return any(h <= y or w <= x for h, w in (meta['pad_shape'][:2] for meta in images))


def check_anchors(grid: AnchorGrid, images: Iterable[dict], border: float) -> None:
    """Refuse, on the host, an image without an anchor to train on, as mmdet does.

    Raises:
        UserError: With the image and the remedy.
    """
    for meta in images if border >= 0 else ():
        if not grid.any_inside(tuple(meta['img_shape'][:2]), border):
            raise _no_anchor(meta, border)


def _no_anchor(meta: dict, border: float) -> UserError:
    """Say what is wrong with an image that the RPN could never be trained on."""
    image = meta.get('img_path') or f'An image of {meta.get("ori_shape", "unknown")} px'
    return UserError(
        f'{image}: resized to {tuple(meta["img_shape"][:2])} px (height, width), no '
        f'anchor lies inside it (train_cfg.rpn.allowed_border={border}). Leave it out, '
        'train on larger images, give anchor_generator smaller scales, or set '
        'allowed_border=-1, which lets anchors cross the border.'
    )


def anchor_losses(
    head: Any,
    sample: Sample,
    scores: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    targets: Tensor,
) -> dict[str, Tensor]:
    """Return ``loss_rpn_cls`` and ``loss_rpn_bbox``, averaged over the samples.

    Args:
        head (Any): Of mmdet's interface: with losses, box coder and ``train_cfg``.
        sample (Sample): N x K slots.
        scores (Tensor): Objectness logits, shape (N, K, C).
        deltas (Tensor): Box deltas, shape (N, K, 4).
        anchors (Tensor): xyxy, shape (N, K, 4).
        targets (Tensor): xyxy, shape (N, K, 4); of no matter where not positive.
    """
    positive, valid = sample.positive, sample.valid
    weight = sample_weights(sample, head.train_cfg.get('pos_weight', -1))
    # mmdet counts at least one positive and one negative an image.
    negatives = (valid & ~positive).sum(1).clamp(min=1)
    samples = (positive.sum(1).clamp(min=1) + negatives).sum().float()

    # Of a sigmoid as one-hot targets: class indices would be looked up with a host
    # wait. Of the softmax, channel 0 is the object.
    sigmoid = scores.shape[-1] == 1
    loss_cls = head.loss_cls(
        scores.flatten(0, 1),
        positive.view(-1, 1).float() if sigmoid else (~positive).view(-1).long(),
        weight.view(-1, 1) if sigmoid else weight.view(-1),
        avg_factor=samples,
    )
    loss_bbox = box_loss(
        head.loss_bbox,
        head.bbox_coder,
        head.reg_decoded_bbox,
        anchors.view(-1, 4),
        deltas.view(-1, 4),
        targets.view(-1, 4),
        positive.view(-1),
        samples,
    )
    return dict(loss_rpn_cls=loss_cls, loss_rpn_bbox=loss_bbox)
