"""What a box head is trained on, and its losses, for one stage or each of several.

Shapes: N images, P proposal slots, G ground-truth slots, K samples an image, C classes,
R = N * K regions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfrcnn.modeling.box_stage import deltas_of, number_regions
from mmfrcnn.modeling.losses import box_loss, sample_weights
from mmfrcnn.modeling.per_image import assign_batch, sample_batch
from mmfrcnn.ops.rows import gather_rows
from mmfrcnn.structures.image_batch import ImageBatch
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.regions import Regions


def sample_regions(
    assigner: Any,
    sampler: Any,
    proposals: PaddedInstances,
    images: ImageBatch,
    feats: Sequence[Tensor],
    background: int,
) -> Regions:
    """Match the proposals with the ground truth and draw what is trained on.

    Args:
        assigner (Any): Of mmdet's interface.
        sampler (Any): Of mmdet's interface.
        proposals (PaddedInstances): N x P slots.
        images (ImageBatch): With the ground truth, N x G slots, and ignored regions.
        feats (Sequence[Tensor]): Feature maps, for samplers that look at them.
        background (int): Label of what is no ground truth's, C.

    Returns:
        Regions: In K slots an image.
    """
    gt, boxes = images.gt, proposals.boxes
    assignment = assign_batch(assigner, boxes, gt, images.ignored, proposals.mask)
    sample = sample_batch(
        sampler, assignment, images.keys, boxes, gt, feats=tuple(feats)
    )
    candidates, matched_idxs, added = boxes, assignment.matched_idxs, 0
    if getattr(sampler, 'add_gt_as_proposals', False):
        # Ground truth stands first, each matched with itself.
        candidates = torch.cat([gt.boxes, candidates], 1)
        added = gt.mask.shape[1]
        itself = torch.arange(added, device=matched_idxs.device)
        matched_idxs = torch.cat(
            [itself.expand(len(matched_idxs), -1), matched_idxs], 1
        )
    matched_idxs = matched_idxs.gather(1, sample.indices)
    labels = gt.labels.gather(1, matched_idxs)
    return Regions(
        sample=sample,
        boxes=gather_rows(candidates, sample.indices),
        targets=gather_rows(gt.boxes, matched_idxs),
        labels=labels.masked_fill(~sample.positive, background),
        matched_idxs=matched_idxs,
        given=sample.indices < added,
    )


def trains_batch_norm(layers: Iterable[nn.Module | None]) -> bool:
    """Whether any of the layers takes statistics over all regions that it is given."""
    modules = [m for layer in layers if layer is not None for m in layer.modules()]
    return any(isinstance(m, _BatchNorm) and m.training for m in modules)


def forward_sample(
    forward: Callable[[Tensor], dict[str, Tensor]],
    regions: Regions,
    layers: Iterable[nn.Module | None],
) -> dict[str, Tensor]:
    """Run regions, of which empty slots must not sway the others.

    Batch norm takes its statistics over all that it is given: with it, in any layer
    that sees the regions, only the valid ones are run, at the price of a wait for
    their number.

    Args:
        forward (Callable): From regions (R, 5) to outputs of R rows.
        regions (Regions): In N x K slots.
        layers (Iterable[nn.Module | None]): What ``forward`` runs.

    Returns:
        dict: Outputs of R = N * K rows.
    """
    rois = number_regions(regions.boxes)
    if not trains_batch_norm(layers):
        return forward(rois)
    real = regions.sample.valid.view(-1).nonzero()[:, 0]
    return {
        name: value.new_zeros(len(rois), *value.shape[1:]).index_copy(0, real, value)
        for name, value in forward(rois[real]).items()
    }


def box_losses(
    head: BBoxHead,
    regions: Regions,
    scores: Tensor,
    deltas: Tensor,
    pos_weight: float,
) -> dict[str, Tensor]:
    """Return ``loss_cls``, ``loss_bbox`` and the accuracy ``acc`` in percent.

    Args:
        head (BBoxHead): A box head of mmdet's standard losses.
        regions (Regions): R = N * K.
        scores (Tensor): Class scores, shape (R, C + 1).
        deltas (Tensor): Box deltas, shape (R, 4 C) or (R, 4).
        pos_weight (float): What a positive counts in the classification; not positive:
            1.
    """
    sample, labels = regions.sample, regions.labels.view(-1)
    positive, valid = sample.positive.view(-1), sample.valid.view(-1)
    samples = valid.sum().clamp(min=1).float()
    weight = sample_weights(sample, pos_weight).view(-1)
    scores = scores.float()
    loss_bbox = box_loss(
        head.loss_bbox,
        head.bbox_coder,
        head.reg_decoded_bbox,
        regions.boxes.view(-1, 4),
        deltas_of(deltas.float(), labels),
        regions.targets.view(-1, 4),
        positive,
        samples,
    )
    correct = (scores.argmax(1) == labels) & valid
    return dict(
        loss_cls=head.loss_cls(scores, labels, weight, avg_factor=samples),
        loss_bbox=loss_bbox,
        acc=100 * correct.sum() / samples,
    )
