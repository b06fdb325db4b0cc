"""The second stage's glue: assign, sample, pool, classify and refine a whole batch.

Shapes: N images, P proposal slots, G ground-truth slots, K samples an image, C classes,
R = N * K (or N * P) regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmfrcnn.modeling.box_head import build_box_head
from mmfrcnn.modeling.box_stage import number_regions
from mmfrcnn.modeling.box_training import box_losses, forward_sample, sample_regions
from mmfrcnn.modeling.mask_branch import (
    MASKS_OF_PROPOSALS,
    MaskBranch,
    build_mask_head,
    detect_with_masks,
    draw_masks,
    positive_slots,
)
from mmfrcnn.modeling.mask_targets import ground_truth_masks
from mmfrcnn.modeling.sampled import describe_proposals
from mmfrcnn.structures.image_batch import images_of
from mmfrcnn.structures.proposals import padded_proposals
from mmfrcnn.structures.regions import Regions


@MODELS.register_module()
class BatchedRoIHead(BaseRoIHead):
    """Fast R-CNN's head on proposals (Girshick 2015), batched in fixed slots.

    With a mask head it is Mask R-CNN's (He et al. 2017). Takes the arguments of mmdet's
    ``StandardRoIHead``, composes mmdet's box heads (``Shared2FCBBoxHead`` and kin) and
    ``FCNMaskHead``, and has their parameter names.

    Args:
        bbox_roi_extractor (dict): Config of the RoI extractor.
        bbox_head (dict): Config of a box head with mmdet's standard targets and losses.
        mask_roi_extractor (dict | None): Config of the mask head's RoI extractor; None:
            the box head's features are shared.
        mask_head (dict | None): Config of mmdet's ``FCNMaskHead``.
        shared_head (dict | None): Layers between pooling and both heads (res5 of C4).
        train_cfg (dict | None): ``assigner``, ``sampler``, ``pos_weight`` (-1) and,
            for masks, ``mask_size``.
        test_cfg (dict | None): ``score_thr``, ``nms``, ``max_per_img``,
            ``min_bbox_size`` (0): sides of a detection, in input pixels, are at least
            this; and, for masks, ``mask_thr_binary``.
        init_cfg (dict | None): Initial weights.
    """

    # mmdet's base class calls these three, in the order of its checkpoints' parameters.

    def init_bbox_head(self, bbox_roi_extractor: dict, bbox_head: dict) -> None:
        """Build the box head and what pools for it."""
        self.bbox_roi_extractor = MODELS.build(bbox_roi_extractor)
        self.bbox_head = build_box_head(bbox_head)

    def init_mask_head(self, mask_roi_extractor: dict | None, mask_head: dict) -> None:
        """Build the mask head and what pools for it."""
        self.share_roi_extractor = mask_roi_extractor is None
        self.mask_roi_extractor = (
            self.bbox_roi_extractor
            if self.share_roi_extractor
            else MODELS.build(mask_roi_extractor)
        )
        self.mask_head = build_mask_head(mask_head)

    def init_assigner_sampler(self) -> None:
        """Build what training needs."""
        if self.train_cfg:
            self.bbox_assigner = TASK_UTILS.build(self.train_cfg['assigner'])
            self.bbox_sampler = TASK_UTILS.build(
                self.train_cfg['sampler'], default_args=dict(context=self)
            )

    @property
    def _box_layers(self) -> tuple[nn.Module | None, ...]:
        shared_head = getattr(self, 'shared_head', None)
        return self.bbox_roi_extractor, shared_head, self.bbox_head

    @property
    def _mask_branch(self) -> MaskBranch:
        shared_head = getattr(self, 'shared_head', None)
        return MaskBranch(self.mask_head, self.mask_roi_extractor, shared_head)

    def forward(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample] | None = None,
    ) -> tuple[Tensor, ...]:
        """Return the heads' outputs for proposals.

        Returns:
            tuple: Class scores (N * P, C + 1), deltas (N * P, 4 C) and, with a mask
            head, mask logits (R, C, S, S) of the first 100.
        """
        proposals = padded_proposals(rpn_results_list, x[0].device)
        rois = number_regions(proposals.boxes)
        result = self._bbox_forward(x, rois)
        outputs = result['cls_score'], result['bbox_pred']
        if not self.with_mask:
            return outputs
        masks = draw_masks([self._mask_branch], x, rois[:MASKS_OF_PROPOSALS])
        return *outputs, masks

    def _bbox_forward(self, x: Sequence[Tensor], rois: Tensor) -> dict[str, Tensor]:
        """Pool regions (R, 5) and run the box head (also called by mmdet's OHEM)."""
        features = self.bbox_roi_extractor(
            x[: self.bbox_roi_extractor.num_inputs], rois
        )
        if self.with_shared_head:
            features = self.shared_head(features)
        scores, deltas = self.bbox_head(features)
        return dict(cls_score=scores, bbox_pred=deltas, bbox_feats=features)

    def loss(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample],
    ) -> dict[str, Tensor]:
        """Train on a sample of the proposals and the ground truth.

        Args:
            x (Sequence[Tensor]): Feature maps, each (N, channels, H_l, W_l).
            rpn_results_list (Sequence[InstanceData]): Proposals of each image, ours in
                slots or mmdet's list.
            batch_data_samples (list[DetDataSample]): Ground truth.

        Returns:
            dict: ``loss_cls``, ``loss_bbox``, the accuracy ``acc`` in percent and, with
            a mask head, ``loss_mask``; and figures for the log, see
            :func:`mmfrcnn.modeling.sampled.describe_proposals`.
        """
        device = x[0].device
        images = images_of(batch_data_samples, device, training=True)
        proposals = padded_proposals(rpn_results_list, device)
        regions = sample_regions(
            self.bbox_assigner,
            self.bbox_sampler,
            proposals,
            images,
            x,
            self.bbox_head.num_classes,
        )
        result = forward_sample(
            partial(self._bbox_forward, x), regions, self._box_layers
        )
        losses = self.loss_of_sample(regions, result['cls_score'], result['bbox_pred'])
        if self.with_mask:
            losses |= self._mask_branch.loss(
                x,
                regions,
                positive_slots(self.bbox_sampler, regions.sample),
                ground_truth_masks(batch_data_samples, device),
                self.train_cfg,
                result['bbox_feats'] if self.share_roi_extractor else None,
            )
        return losses | describe_proposals(regions.sample, proposals, images.gt)

    def loss_of_sample(
        self, regions: Regions, scores: Tensor, deltas: Tensor
    ) -> dict[str, Tensor]:
        """Losses over R = N * K regions: scores (R, C + 1), deltas (R, 4 C or 4)."""
        pos_weight = self.train_cfg.get('pos_weight', -1)
        return box_losses(self.bbox_head, regions, scores, deltas, pos_weight)

    def predict(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample],
        rescale: bool = False,
    ) -> Sequence[InstanceData]:
        """Classify and refine the proposals of every image.

        Args:
            x (Sequence[Tensor]): Feature maps, each (N, channels, H_l, W_l).
            rpn_results_list (Sequence[InstanceData]): Proposals of each image.
            batch_data_samples (list[DetDataSample]): Meta information.
            rescale (bool): Whether to answer in original image pixels.

        Returns:
            Detections: In slots, best first; also the list of each image's ``bboxes``
            (d, 4) xyxy, ``scores`` (d,) and ``labels`` (d,). With a mask head, that
            list, and ``masks``, bool, (d, height, width).
        """
        images = images_of(batch_data_samples, x[0].device, training=False)
        proposals = padded_proposals(rpn_results_list, x[0].device)
        result = self._bbox_forward(x, number_regions(proposals.boxes))
        return detect_with_masks(
            self.bbox_head,
            [self._mask_branch] if self.with_mask else [],
            x,
            proposals,
            result['cls_score'],
            result['bbox_pred'],
            images,
            self.test_cfg,
            rescale,
        )
