"""Several box heads in a row, each on what the one before has refined.

Shapes: N images, P proposal slots, K samples an image, C classes, R = N * K (or N * P)
regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.model import ModuleList
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.box_head import build_box_head
from mmfrcnn.modeling.box_stage import number_regions
from mmfrcnn.modeling.box_training import box_losses, forward_sample, sample_regions
from mmfrcnn.modeling.cascade_stage import next_proposals, refine_likeliest
from mmfrcnn.modeling.mask_branch import (
    MASKS_OF_PROPOSALS,
    MaskBranch,
    build_mask_head,
    detect_with_masks,
    draw_masks,
    positive_slots,
)
from mmfrcnn.modeling.mask_targets import (
    ListedMasks,
    StackedMasks,
    ground_truth_masks,
)
from mmfrcnn.modeling.sampled import describe_proposals
from mmfrcnn.structures.image_batch import images_of
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.proposals import padded_proposals
from mmfrcnn.structures.regions import Regions


@MODELS.register_module()
class BatchedCascadeRoIHead(BaseRoIHead):
    """Cascade R-CNN's head (Cai and Vasconcelos 2018), batched in fixed slots.

    Each stage is trained on the regions of the one before, refined by it. Takes the
    arguments of mmdet's ``CascadeRoIHead``, and has its parameter names.

    Args:
        num_stages (int): Number of stages, T.
        stage_loss_weights (Sequence[float]): What each stage's losses count.
        bbox_roi_extractor (dict | list[dict]): Of all stages, or of each.
        bbox_head (dict | list[dict]): Of all stages, or of each.
        mask_roi_extractor (dict | list[dict] | None): Of all stages, or of each; None:
            the box heads' extractors.
        mask_head (dict | list[dict] | None): Of all stages, or of each.
        train_cfg (list[dict] | None): For each stage what `BatchedRoIHead` takes.
        test_cfg (dict | None): What `BatchedRoIHead` takes.
        init_cfg (dict | None): Initial weights.

    Attributes:
        current_stage (int): The stage at work; mmdet's OHEM sampler asks.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        bbox_roi_extractor: dict | list[dict],
        bbox_head: dict | list[dict],
        mask_roi_extractor: dict | list[dict] | None = None,
        mask_head: dict | list[dict] | None = None,
        train_cfg: list[dict] | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        self.num_stages = num_stages
        self.stage_loss_weights = self._one_a_stage(stage_loss_weights)
        super().__init__(
            bbox_roi_extractor,
            bbox_head,
            mask_roi_extractor,
            mask_head,
            train_cfg=train_cfg and self._one_a_stage(train_cfg),
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )

    def init_bbox_head(
        self, bbox_roi_extractor: dict | list[dict], bbox_head: dict | list[dict]
    ) -> None:
        """Build the box heads and what pools for them."""
        self.bbox_roi_extractor = self._build(bbox_roi_extractor)
        self.bbox_head = self._build(bbox_head, build_box_head)

    def init_mask_head(
        self,
        mask_roi_extractor: dict | list[dict] | None,
        mask_head: dict | list[dict],
    ) -> None:
        """Build the mask heads and what pools for them."""
        self.mask_head = self._build(mask_head, build_mask_head)
        self.mask_roi_extractor = (
            self.bbox_roi_extractor
            if mask_roi_extractor is None
            else self._build(mask_roi_extractor)
        )

    def init_assigner_sampler(self) -> None:
        """Build what training needs."""
        self.bbox_assigner: list[Any] = []
        self.bbox_sampler: list[Any] = []
        for stage, cfg in enumerate(self.train_cfg or []):
            self.current_stage = stage
            self.bbox_assigner.append(TASK_UTILS.build(cfg['assigner']))
            self.bbox_sampler.append(
                TASK_UTILS.build(cfg['sampler'], default_args=dict(context=self))
            )

    def _one_a_stage(self, values: Sequence) -> list:
        if len(values) != self.num_stages:
            raise UserError(
                f'BatchedCascadeRoIHead has num_stages={self.num_stages}, and a list '
                f'of {len(values)} for them: {values}'
            )
        return list(values)

    def _build(
        self, cfg: dict | list[dict], build: Callable[[dict], Any] = MODELS.build
    ) -> ModuleList:
        cfgs = cfg if isinstance(cfg, list) else [cfg] * self.num_stages
        return ModuleList([build(one) for one in self._one_a_stage(cfgs)])

    @property
    def _mask_branches(self) -> list[MaskBranch]:
        parts = zip(self.mask_head, self.mask_roi_extractor, strict=True)
        return [MaskBranch(head, extractor) for head, extractor in parts]

    def forward(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample],
    ) -> tuple[Tensor, ...]:
        """Return the heads' outputs for proposals.

        Returns:
            tuple: Class scores (N * P, C + 1), the mean over the stages, the last
            stage's deltas (N * P, 4 C or 4) and, with mask heads, mask probabilities
            (R, C, S, S) of the first 100.
        """
        images = images_of(batch_data_samples, x[0].device, training=False)
        proposals = padded_proposals(rpn_results_list, x[0].device)
        refined, scores, deltas = self._cascade(x, proposals, images.sizes)
        if not self.with_mask:
            return scores, deltas
        rois = number_regions(refined.boxes)[:MASKS_OF_PROPOSALS]
        return scores, deltas, draw_masks(self._mask_branches, x, rois)

    def _bbox_forward(
        self, stage: int, x: Sequence[Tensor], rois: Tensor
    ) -> dict[str, Tensor]:
        """Pool regions (R, 5) and run a box head (also called by mmdet's OHEM)."""
        extractor = self.bbox_roi_extractor[stage]
        features = extractor(x[: extractor.num_inputs], rois)
        scores, deltas = self.bbox_head[stage](features)
        return dict(cls_score=scores, bbox_pred=deltas, bbox_feats=features)

    def loss(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample],
    ) -> dict[str, Tensor]:
        """Train each stage on a sample of its proposals and the ground truth.

        Args:
            x (Sequence[Tensor]): Feature maps, each (N, channels, H_l, W_l).
            rpn_results_list (Sequence[InstanceData]): Proposals of each image, ours in
                slots or mmdet's list.
            batch_data_samples (list[DetDataSample]): Ground truth.

        Returns:
            dict: ``s0.loss_cls``, ``s0.loss_bbox``, ``s0.acc`` and, with mask heads,
            ``s0.loss_mask``; figures for the log, see
            :func:`mmfrcnn.modeling.sampled.describe_proposals`; so for each stage.
        """
        device = x[0].device
        images = images_of(batch_data_samples, device, training=True)
        masks = None
        if self.with_mask:
            masks = ground_truth_masks(batch_data_samples, device)
        proposals = padded_proposals(rpn_results_list, device)

        losses: dict[str, Tensor] = {}
        for stage, head in enumerate(self.bbox_head):
            self.current_stage = stage
            regions = sample_regions(
                self.bbox_assigner[stage],
                self.bbox_sampler[stage],
                proposals,
                images,
                x,
                head.num_classes,
            )
            result = forward_sample(
                partial(self._bbox_forward, stage, x),
                regions,
                (self.bbox_roi_extractor[stage], head),
            )
            scores, deltas = result['cls_score'], result['bbox_pred']
            found = self.loss_of_sample(stage, regions, scores, deltas)
            if masks is not None:
                found |= self._mask_loss(stage, x, regions, masks)
            found |= describe_proposals(regions.sample, proposals, images.gt)
            weight = self.stage_loss_weights[stage]
            for name, value in found.items():
                losses[f's{stage}.{name}'] = value * weight if 'loss' in name else value
            if stage + 1 < self.num_stages:
                proposals = next_proposals(head, regions, scores, deltas, images.sizes)
        return losses

    def _mask_loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        regions: Regions,
        masks: StackedMasks | ListedMasks,
    ) -> dict[str, Tensor]:
        slots = positive_slots(self.bbox_sampler[stage], regions.sample)
        branch, cfg = self._mask_branches[stage], self.train_cfg[stage]
        return branch.loss(x, regions, slots, masks, cfg)

    def loss_of_sample(
        self, stage: int, regions: Regions, scores: Tensor, deltas: Tensor
    ) -> dict[str, Tensor]:
        """Losses over R = N * K regions: scores (R, C + 1), deltas (R, 4 C or 4)."""
        pos_weight = self.train_cfg[stage].get('pos_weight', -1)
        return box_losses(self.bbox_head[stage], regions, scores, deltas, pos_weight)

    def predict(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample],
        rescale: bool = False,
    ) -> Sequence[InstanceData]:
        """Refine the proposals of every image stage by stage, and classify them.

        Args:
            x (Sequence[Tensor]): Feature maps, each (N, channels, H_l, W_l).
            rpn_results_list (Sequence[InstanceData]): Proposals of each image.
            batch_data_samples (list[DetDataSample]): Meta information.
            rescale (bool): Whether to answer in original image pixels.

        Returns:
            Detections: In slots, best first; also the list of each image's ``bboxes``
            (d, 4) xyxy, ``scores`` (d,) and ``labels`` (d,). With mask heads, that
            list, and ``masks``, bool, (d, height, width).
        """
        images = images_of(batch_data_samples, x[0].device, training=False)
        proposals = padded_proposals(rpn_results_list, x[0].device)
        refined, scores, deltas = self._cascade(x, proposals, images.sizes)
        return detect_with_masks(
            self.bbox_head[-1],
            self._mask_branches if self.with_mask else [],
            x,
            refined,
            scores,
            deltas,
            images,
            self.test_cfg,
            rescale,
        )

    def _cascade(
        self, x: Sequence[Tensor], proposals: PaddedInstances, sizes: Tensor
    ) -> tuple[PaddedInstances, Tensor, Tensor]:
        """Return what the last stage refines, the mean of all scores, its deltas."""
        boxes, total = proposals.boxes, None
        for stage, head in enumerate(self.bbox_head):
            result = self._bbox_forward(stage, x, number_regions(boxes))
            scores, deltas = result['cls_score'].float(), result['bbox_pred']
            total = scores if total is None else total + scores
            if stage + 1 < self.num_stages:
                boxes = refine_likeliest(head, boxes, scores, deltas, sizes)
        refined = PaddedInstances(boxes, proposals.mask)
        return refined, total / self.num_stages, deltas
