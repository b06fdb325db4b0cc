"""Masks of regions: a mask head's loss in fixed slots, and its masks of detections.

Shapes: N images, K sample slots, P of them for positives, C classes, R regions, (S, S)
the masks that the head draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.box_stage import detect, number_regions
from mmfrcnn.modeling.box_training import trains_batch_norm
from mmfrcnn.modeling.mask_targets import ListedMasks, StackedMasks
from mmfrcnn.modeling.sampler import BalancedSampler
from mmfrcnn.ops.backend import backend_of
from mmfrcnn.structures.image_batch import ImageBatch
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.regions import Regions
from mmfrcnn.structures.sample import Sample

# What is computed here for the whole batch instead.
BATCHED_METHODS = ('loss_and_target', 'get_targets')
# In mode 'tensor' (to count operations) masks are drawn of as many proposals, mmdet's
# number: a detector draws them of detections, which are as few.
MASKS_OF_PROPOSALS = 100


def build_mask_head(cfg: dict) -> FCNMaskHead:
    """Build mmdet's ``FCNMaskHead``, or one that differs from it in its layers alone.

    Raises:
        UserError: For a head whose own targets or loss would be passed over.
    """
    head = MODELS.build(cfg)
    loss = getattr(head, 'loss_mask', None)
    plain = (
        isinstance(loss, CrossEntropyLoss) and loss.use_mask and not loss.class_weight
    )
    if not plain or any(
        getattr(type(head), method, None) is not getattr(FCNMaskHead, method)
        for method in BATCHED_METHODS
    ):
        raise UserError(
            'The batched RoI heads compute mask targets and losses of the whole batch '
            f'at once, for FCNMaskHead and its cross entropy; {type(head).__name__} '
            "has its own. Use mmdet's 'StandardRoIHead' or 'CascadeRoIHead' with this "
            'mask head; the other parts stay as they are.'
        )
    return head


def positive_slots(sampler: Any, sample: Sample) -> int:
    """Return P: how many of the slots, the first ones, may hold positives."""
    if isinstance(sampler, BalancedSampler):
        return int(sampler.num * sampler.pos_fraction)
    # mmdet's samplers have looked at the device already.
    return int(sample.positive.any(0).sum())


@dataclass(frozen=True)
class MaskBranch:
    """A mask head (He et al. 2017) and where its features come from.

    Attributes:
        head (FCNMaskHead): :func:`build_mask_head`'s.
        extractor (BaseRoIExtractor): Pools the features of regions.
        shared_head (nn.Module | None): Layers between pooling and both heads.
    """

    head: FCNMaskHead
    extractor: BaseRoIExtractor
    shared_head: nn.Module | None = None

    def forward(self, x: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Return mask logits (R, C or 1, S, S) of regions (R, 5)."""
        features = self.extractor(x[: self.extractor.num_inputs], rois)
        if self.shared_head is not None:
            features = self.shared_head(features)
        return self.head(features)

    def loss(
        self,
        x: Sequence[Tensor],
        regions: Regions,
        slots: int,
        masks: StackedMasks | ListedMasks,
        cfg: dict,
        box_features: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return ``loss_mask``: the mean over the pixels of the positives' masks.

        Args:
            x (Sequence[Tensor]): Feature maps, each (N, channels, H_l, W_l).
            regions (Regions): In K slots an image.
            slots (int): P.
            masks (StackedMasks | ListedMasks): Ground truth of the batch.
            cfg (dict): mmdet's ``train_cfg.rcnn``: ``mask_size`` and
                ``soft_mask_target`` (False).
            box_features (Tensor | None): What the box head was given, shape (N * K,
                channels, S', S'), where the mask head shares it.
        """
        positive = regions.sample.positive[:, :slots].reshape(-1)  # (N * P)
        rois = number_regions(regions.boxes[:, :slots])  # (N * P, 5)
        labels = regions.labels[:, :slots].reshape(-1)
        matched_idxs = regions.matched_idxs[:, :slots].reshape(-1)
        if box_features is not None:
            per_image = box_features.unflatten(0, regions.labels.shape)
            box_features = per_image[:, :slots].flatten(0, 1)
        # On a CPU, looking which slots are empty costs less than to run them.
        layers = (self.extractor, self.shared_head, self.head)
        on_cpu = backend_of(rois) == 'cpu'
        if on_cpu or masks.on_host or trains_batch_norm(layers):
            real = positive.nonzero()[:, 0]
            positive, rois, labels, matched_idxs = (
                rows[real] for rows in (positive, rois, labels, matched_idxs)
            )
            box_features = None if box_features is None else box_features[real]

        logits = (
            self.forward(x, rois) if box_features is None else self.head(box_features)
        )
        targets = masks.cut(rois, matched_idxs, _pair(cfg['mask_size']))
        if not cfg.get('soft_mask_target', False):
            targets = (targets >= 0.5).float()
        loss = _mean_over_positives(logits, targets, labels, positive)
        return dict(loss_mask=self.head.loss_mask.loss_weight * loss)


def _mean_over_positives(
    logits: Tensor, targets: Tensor, labels: Tensor, positive: Tensor
) -> Tensor:
    """Cross entropy of logits (R, C or 1, S, S), of each region's own class (R,)."""
    own = labels.clamp(max=logits.shape[1] - 1).view(-1, 1, 1, 1)
    own = logits.gather(1, own.expand(-1, 1, *logits.shape[2:]))[:, 0].float()
    each = F.binary_cross_entropy_with_logits(own, targets, reduction='none')
    each = each.mean((1, 2)).masked_fill(~positive, 0)  # (R,)
    return each.sum() / positive.sum().clamp(min=1)


def detect_with_masks(
    box_head: BBoxHead,
    branches: Sequence[MaskBranch],
    x: Sequence[Tensor],
    proposals: PaddedInstances,
    scores: Tensor,
    deltas: Tensor,
    images: ImageBatch,
    cfg: dict,
    rescale: bool,
) -> Sequence[InstanceData]:
    """Turn a box head's outputs into detections, and draw their masks.

    Arguments are those of :func:`~mmfrcnn.modeling.box_stage.detect` and of
    :func:`predict_masks`; without branches there are no masks.
    """
    # Masks are drawn in input pixels, and rescaled with their boxes.
    early = rescale and not branches
    results = detect(box_head, proposals, scores, deltas, images, cfg, early)
    if not branches:
        return results
    return predict_masks(branches, x, results, images, cfg, rescale)


def predict_masks(
    branches: Sequence[MaskBranch],
    x: Sequence[Tensor],
    results: Sequence[InstanceData],
    metas: Sequence[dict],
    cfg: dict,
    rescale: bool,
) -> list[InstanceData]:
    """Draw the masks of detections, the mean over the stages of a cascade.

    Args:
        branches (Sequence[MaskBranch]): One a stage.
        x (Sequence[Tensor]): Feature maps, each (N, channels, H_l, W_l).
        results (Sequence[InstanceData]): Detections of each image, ``bboxes`` (D, 4)
            in input pixels.
        metas (Sequence[dict]): Meta information of each image.
        cfg (dict): mmdet's ``test_cfg.rcnn``: ``mask_thr_binary``.
        rescale (bool): Whether to answer in original image pixels.

    Returns:
        list[InstanceData]: The same with ``masks``, bool, shape (D, height, width), and
        their boxes in original image pixels if ``rescale``.
    """
    results = list(results)
    counts = [len(one) for one in results]
    drawn: Sequence[Tensor | None] = [None] * len(results)
    if any(counts):
        rois = bbox2roi([one.bboxes for one in results])
        drawn = draw_masks(branches, x, rois).split(counts)
    return branches[-1].head.predict_by_feat(
        drawn, results, metas, cfg, rescale=rescale, activate_map=len(branches) > 1
    )


def draw_masks(
    branches: Sequence[MaskBranch], x: Sequence[Tensor], rois: Tensor
) -> Tensor:
    """Return mask logits of regions (R, 5), of several stages their mean probability.

    Returns:
        Tensor: float32, shape (R, C or 1, S, S).
    """
    logits = [branch.forward(x, rois).float() for branch in branches]
    if len(logits) == 1:
        return logits[0]
    return torch.stack([one.sigmoid() for one in logits]).mean(0)
