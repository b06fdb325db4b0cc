"""What a box head is given and what its outputs mean, for one stage or each of several.

Shapes: N images, P proposal slots, G ground-truth slots, K samples an image, C classes,
R = N * K (or N * P) regions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfrcnn.modeling.detections import suppress_detections
from mmfrcnn.modeling.losses import box_loss, sample_weights
from mmfrcnn.modeling.per_image import assign_batch, sample_batch
from mmfrcnn.ops.rows import gather_rows
from mmfrcnn.structures.detections import Detections
from mmfrcnn.structures.image_batch import ImageBatch
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.regions import Regions


def number_regions(boxes: Tensor) -> Tensor:
    """Number boxes (N, R', 4) by their image: (N * R', 5)."""
    images, slots = boxes.shape[:2]
    image = torch.arange(images, device=boxes.device, dtype=boxes.dtype)
    image = image[:, None, None].expand(-1, slots, 1)
    return torch.cat([image, boxes], -1).view(-1, 5)


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
        _deltas_of(deltas.float(), labels),
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


def _deltas_of(deltas: Tensor, labels: Tensor) -> Tensor:
    """Return the deltas (R, 4), of (R, 4 C) or (R, 4), of each region's class (R,)."""
    deltas = deltas.unflatten(1, (-1, 4))  # (R, C or 1, 4)
    slot = labels.clamp(max=deltas.shape[1] - 1)
    return deltas.gather(1, slot.view(-1, 1, 1).expand(-1, 1, 4))[:, 0]


def refine_boxes(
    head: BBoxHead, boxes: Tensor, deltas: Tensor, sizes: Tensor
) -> Tensor:
    """Apply deltas to boxes and clip them to their image.

    Args:
        head (BBoxHead): Whose box code it is.
        boxes (Tensor): xyxy in input pixels, float32, shape (N, P, 4).
        deltas (Tensor): Of one box or of C, shape (N * P, 4) or (N * P, 4 C).
        sizes (Tensor): (height, width) of each image, shape (N, 2).

    Returns:
        Tensor: xyxy, float32, shape (N, P, C or 1, 4).
    """
    refined = head.bbox_coder.decode(boxes.reshape(-1, 4), deltas.float())
    refined = refined.unflatten(0, boxes.shape[:2]).unflatten(2, (-1, 4))
    limit = sizes.flip(-1).repeat(1, 2)  # (N, 4): w, h, w, h
    return torch.minimum(refined.clamp(min=0), limit[:, None, None])


def refine_likeliest(
    head: BBoxHead,
    boxes: Tensor,
    scores: Tensor,
    deltas: Tensor,
    sizes: Tensor,
    known: Tensor | None = None,
) -> Tensor:
    """Refine each box as its likeliest class would have it, or a class that is known.

    Args:
        head (BBoxHead): Whose scores and deltas they are.
        boxes (Tensor): xyxy in input pixels, float32, shape (N, P, 4).
        scores (Tensor): Class scores, shape (N * P, C + 1).
        deltas (Tensor): Shape (N * P, 4 C) or (N * P, 4).
        sizes (Tensor): (height, width) of each image, shape (N, 2).
        known (Tensor | None): Classes, C where they are not known, shape (N, P).

    Returns:
        Tensor: xyxy, float32, shape (N, P, 4).
    """
    labels = scores[:, :-1].argmax(1)
    if known is not None:
        known = known.view(-1)
        labels = torch.where(known == head.num_classes, labels, known)
    return refine_boxes(head, boxes, _deltas_of(deltas, labels), sizes)[:, :, 0]


def detect(
    head: BBoxHead,
    proposals: PaddedInstances,
    scores: Tensor,
    deltas: Tensor,
    images: ImageBatch,
    cfg: dict,
    rescale: bool,
) -> Detections:
    """Turn a box head's outputs into the detections of each image.

    Args:
        head (BBoxHead): Whose outputs they are.
        proposals (PaddedInstances): N x P slots.
        scores (Tensor): Class scores, shape (N * P, C + 1).
        deltas (Tensor): Shape (N * P, 4 C) or (N * P, 4).
        images (ImageBatch): Sizes and scale factors.
        cfg (dict): mmdet's ``test_cfg.rcnn``, and ``min_bbox_size`` (0).
        rescale (bool): Whether to answer in original image pixels.

    Returns:
        Detections: In slots, best first.
    """
    scores = scores.float()
    # Of a sigmoid loss (focal), each class has a probability of its own.
    independent = getattr(head.loss_cls, 'use_sigmoid', False)
    probabilities = scores.sigmoid() if independent else F.softmax(scores, -1)
    # Empty slots score nothing, so no threshold lets them through.
    probabilities = probabilities.masked_fill(~proposals.mask.view(-1, 1), -1)
    probabilities = probabilities[:, :-1].unflatten(0, proposals.mask.shape)
    boxes = refine_boxes(head, proposals.boxes, deltas, images.sizes)
    smallest = cfg.get('min_bbox_size', 0)
    if smallest > 0:
        large = (boxes[..., 2:] - boxes[..., :2] >= smallest).all(-1)
        probabilities = probabilities.masked_fill(~large, -1)
    if rescale:
        boxes = boxes / images.scale_factors[:, None]
    return suppress_detections(boxes, probabilities, cfg, not independent)
