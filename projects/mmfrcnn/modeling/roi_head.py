"""The second stage's glue: assign, sample, pool, classify and refine a whole batch.

Shapes: N images, P proposal slots, G ground-truth slots, K samples an image, C classes,
R = N * K (or N * P) regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmfrcnn.modeling.box_coder import DeltaBoxCoder
from mmfrcnn.modeling.box_head import check_box_head
from mmfrcnn.modeling.detections import suppress_detections
from mmfrcnn.modeling.losses import box_loss, sample_weights
from mmfrcnn.modeling.per_image import assign_batch, sample_batch
from mmfrcnn.ops.rows import gather_rows
from mmfrcnn.structures.assignment import Assignment
from mmfrcnn.structures.detections import Detections
from mmfrcnn.structures.image_batch import ImageBatch, images_of
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.proposals import padded_proposals
from mmfrcnn.structures.sample import Sample


@MODELS.register_module()
class BatchedRoIHead(BaseModule):
    """Fast R-CNN's head on proposals (Girshick 2015), batched in fixed slots.

    Takes mmdet's ``StandardRoIHead`` arguments for boxes, composes mmdet's box heads
    (``Shared2FCBBoxHead`` and kin) and has their parameter names.

    Args:
        bbox_roi_extractor (dict): Config of the RoI extractor.
        bbox_head (dict): Config of a box head with mmdet's standard targets and losses.
        shared_head (dict | None): Layers between pooling and box head (res5 of C4).
        train_cfg (dict | None): ``assigner``, ``sampler`` and ``pos_weight`` (-1).
        test_cfg (dict | None): ``score_thr``, ``nms``, ``max_per_img`` and
            ``min_bbox_size`` (0): sides of a detection, in input pixels, are at least
            this.
        init_cfg (dict | None): Initial weights.
    """

    def __init__(
        self,
        bbox_roi_extractor: dict,
        bbox_head: dict,
        shared_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.bbox_roi_extractor = MODELS.build(bbox_roi_extractor)
        self.bbox_head = MODELS.build(bbox_head)
        check_box_head(self.bbox_head)
        coder = self.bbox_head.bbox_coder
        self.bbox_head.bbox_coder = DeltaBoxCoder.of(coder)
        if shared_head is not None:
            self.shared_head = MODELS.build(shared_head)
        if train_cfg:
            self.bbox_assigner = TASK_UTILS.build(train_cfg['assigner'])
            self.bbox_sampler = TASK_UTILS.build(
                train_cfg['sampler'], default_args=dict(context=self)
            )

    # mmdet's detectors and samplers ask these.

    @property
    def with_bbox(self) -> bool:
        """Whether there is a box head: always."""
        return True

    @property
    def with_mask(self) -> bool:
        """Whether there is a mask head: never."""
        return False

    @property
    def with_shared_head(self) -> bool:
        """Whether layers stand between pooling and box head."""
        return hasattr(self, 'shared_head')

    def forward(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return class scores (N * P, C + 1) and deltas (N * P, 4 C) of proposals."""
        proposals = padded_proposals(rpn_results_list, x[0].device)
        result = self._bbox_forward(x, _regions(proposals.boxes))
        return result['cls_score'], result['bbox_pred']

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
            dict: ``loss_cls``, ``loss_bbox`` and the accuracy ``acc`` in percent.
        """
        device = x[0].device
        images = images_of(batch_data_samples, device, training=True)
        gt = images.gt
        proposals = padded_proposals(rpn_results_list, device)

        assignment = assign_batch(
            self.bbox_assigner, proposals.boxes, gt, images.ignored, proposals.mask
        )
        sample = sample_batch(
            self.bbox_sampler,
            assignment,
            images.keys,
            proposals.boxes,
            gt,
            feats=tuple(x),
        )
        boxes, targets, labels = self._sampled(sample, assignment, proposals, gt)
        result = self._forward_sample(x, _regions(boxes), sample.valid.view(-1))
        return self.loss_of_sample(
            sample, boxes, targets, labels, result['cls_score'], result['bbox_pred']
        )

    def _forward_sample(
        self, x: Sequence[Tensor], rois: Tensor, valid: Tensor
    ) -> dict[str, Tensor]:
        """Run regions (R, 5), of which empty slots must not sway the others.

        Batch norm takes its statistics over all that it is given: with it, in any layer
        that sees the regions, only the valid ones are run, at the price of a wait for
        their number.
        """
        layers = [*self.bbox_roi_extractor.modules(), *self.bbox_head.modules()]
        if self.with_shared_head:
            layers += self.shared_head.modules()
        if not any(isinstance(m, _BatchNorm) and m.training for m in layers):
            return self._bbox_forward(x, rois)
        real = valid.nonzero()[:, 0]
        result = self._bbox_forward(x, rois[real])
        return {
            name: result[name]
            .new_zeros(len(rois), result[name].shape[1])
            .index_copy(0, real, result[name])
            for name in ('cls_score', 'bbox_pred')  # all that the losses take
        }

    def _sampled(
        self,
        sample: Sample,
        assignment: Assignment,
        proposals: PaddedInstances,
        gt: PaddedInstances,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Look up sampled regions (N, K, 4), their targets (N, K, 4), labels (N, K).

        Where there is no ground truth the label is C, and the target of no matter.
        """
        candidates, matched_idxs = proposals.boxes, assignment.matched_idxs
        if getattr(self.bbox_sampler, 'add_gt_as_proposals', False):
            # Ground truth stands first, each matched with itself.
            candidates = torch.cat([gt.boxes, candidates], 1)
            itself = torch.arange(gt.mask.shape[1], device=matched_idxs.device)
            matched_idxs = torch.cat(
                [itself.expand(len(matched_idxs), -1), matched_idxs], 1
            )
        boxes = gather_rows(candidates, sample.indices)
        matched_idxs = matched_idxs.gather(1, sample.indices)
        targets = gather_rows(gt.boxes, matched_idxs)
        labels = gt.labels.gather(1, matched_idxs)
        background = self.bbox_head.num_classes
        return boxes, targets, labels.masked_fill(~sample.positive, background)

    def loss_of_sample(
        self,
        sample: Sample,
        boxes: Tensor,
        targets: Tensor,
        labels: Tensor,
        scores: Tensor,
        deltas: Tensor,
    ) -> dict[str, Tensor]:
        """Losses over R = N * K regions: scores (R, C + 1), deltas (R, 4 C or 4)."""
        head = self.bbox_head
        positive, valid = sample.positive.view(-1), sample.valid.view(-1)
        labels, boxes, targets = labels.view(-1), boxes.view(-1, 4), targets.view(-1, 4)
        samples = valid.sum().clamp(min=1).float()
        weight = sample_weights(sample, self.train_cfg.get('pos_weight', -1)).view(-1)
        scores, deltas = scores.float(), deltas.float()

        deltas = deltas.unflatten(1, (-1, 4))  # (R, C or 1, 4)
        slot = labels.clamp(max=deltas.shape[1] - 1)
        deltas = deltas.gather(1, slot.view(-1, 1, 1).expand(-1, 1, 4))[:, 0]
        loss_bbox = box_loss(
            head.loss_bbox,
            head.bbox_coder,
            head.reg_decoded_bbox,
            boxes,
            deltas,
            targets,
            positive,
            samples,
        )
        correct = (scores.argmax(1) == labels) & valid
        return dict(
            loss_cls=head.loss_cls(scores, labels, weight, avg_factor=samples),
            loss_bbox=loss_bbox,
            acc=100 * correct.sum() / samples,
        )

    def predict(
        self,
        x: Sequence[Tensor],
        rpn_results_list: Sequence[InstanceData],
        batch_data_samples: list[DetDataSample],
        rescale: bool = False,
    ) -> Detections:
        """Classify and refine the proposals of every image.

        Args:
            x (Sequence[Tensor]): Feature maps, each (N, channels, H_l, W_l).
            rpn_results_list (Sequence[InstanceData]): Proposals of each image.
            batch_data_samples (list[DetDataSample]): Meta information.
            rescale (bool): Whether to answer in original image pixels.

        Returns:
            Detections: In slots, best first; also the list of each image's ``bboxes``
            (d, 4) xyxy, ``scores`` (d,) and ``labels`` (d,).
        """
        images = images_of(batch_data_samples, x[0].device, training=False)
        proposals = padded_proposals(rpn_results_list, x[0].device)
        result = self._bbox_forward(x, _regions(proposals.boxes))
        scores = result['cls_score'].float()
        # Of a sigmoid loss (focal), each class has a probability of its own.
        independent = getattr(self.bbox_head.loss_cls, 'use_sigmoid', False)
        probabilities = scores.sigmoid() if independent else F.softmax(scores, -1)
        # Empty slots score nothing, so no threshold lets them through.
        probabilities = probabilities.masked_fill(~proposals.mask.view(-1, 1), -1)
        boxes = self._refine(proposals.boxes, result['bbox_pred'].float(), images)
        scores = probabilities[:, :-1].unflatten(0, boxes.shape[:2])
        smallest = self.test_cfg.get('min_bbox_size', 0)
        if smallest > 0:
            large = (boxes[..., 2:] - boxes[..., :2] >= smallest).all(-1)
            scores = scores.masked_fill(~large, -1)
        if rescale:
            boxes = boxes / images.scale_factors[:, None]
        return suppress_detections(boxes, scores, self.test_cfg, not independent)

    def _refine(self, boxes: Tensor, deltas: Tensor, images: ImageBatch) -> Tensor:
        """Apply deltas (R, 4 C) to proposals (N, P, 4), clipped: (N, P, C or 1, 4)."""
        refined = self.bbox_head.bbox_coder.decode(boxes.view(-1, 4), deltas)
        refined = refined.unflatten(0, boxes.shape[:2]).unflatten(2, (-1, 4))
        limit = images.sizes.flip(-1).repeat(1, 2)
        return torch.minimum(refined.clamp(min=0), limit[:, None, None])


def _regions(boxes: Tensor) -> Tensor:
    """Number boxes (N, R', 4) by their image: (N * R', 5)."""
    images, slots = boxes.shape[:2]
    image = torch.arange(images, device=boxes.device, dtype=boxes.dtype)
    image = image[:, None, None].expand(-1, slots, 1)
    return torch.cat([image, boxes], -1).view(-1, 5)
