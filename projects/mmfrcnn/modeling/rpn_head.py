"""The RPN head: a 3x3 convolution, objectness and box deltas of every anchor.

Shapes: N images, L levels, A anchors a cell, S = sum over levels of A * H_l * W_l,
G ground-truth slots, K samples an image, C objectness channels (1 sigmoid, 2 softmax).
"""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.anchors import AnchorGridCache, anchors_a_cell
from mmfrcnn.modeling.box_coder import DeltaBoxCoder
from mmfrcnn.modeling.proposals import ProposalRules, select_proposals
from mmfrcnn.modeling.rpn_layers import RPNLayers
from mmfrcnn.modeling.rpn_training import anchor_losses, sample_anchors
from mmfrcnn.ops.rows import flatten_levels, gather_rows
from mmfrcnn.structures.anchor_grid import AnchorGrid
from mmfrcnn.structures.image_batch import ImageBatch, images_of
from mmfrcnn.structures.padded_instances import PaddedInstances
from mmfrcnn.structures.proposals import Proposals
from mmfrcnn.structures.sample import Sample

ANCHORS = dict(
    type='AnchorGenerator',
    scales=[8, 16, 32],
    ratios=[0.5, 1.0, 2.0],
    strides=[4, 8, 16, 32, 64],
)
BOX_CODER = dict(type='DeltaBoxCoder')
OBJECTNESS_LOSS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
BOX_LOSS = dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)
# A list of an image each, or slots.
Instances = Sequence[InstanceData] | PaddedInstances
INITIAL_WEIGHTS = dict(type='Normal', layer='Conv2d', std=0.01)


@MODELS.register_module()
class RegionProposalHead(RPNLayers):
    """Region proposal network (Ren et al. 2015, section 3.1), batched.

    Targets, losses and proposals of all images are computed at once in fixed slots. It
    takes mmdet's ``RPNHead`` arguments, has its parameter names (its checkpoints load),
    and stands in for it in any two-stage detector.

    Args:
        in_channels (int): Channels of the feature maps.
        feat_channels (int): Channels of the 3x3 convolution.
        num_classes (int): 1: object or not. mmdet's detector passes it.
        num_convs (int): Number of 3x3 convolutions.
        anchor_generator (dict): Config of mmdet's anchor generator.
        bbox_coder (dict): Config of the box coder.
        reg_decoded_bbox (bool): Whether ``loss_bbox`` compares boxes, not deltas (for
            IoU losses).
        loss_cls (dict): Objectness loss: with ``use_sigmoid=True`` one logit an anchor,
            else the paper's two-way softmax, channel 0 the object.
        loss_bbox (dict): Box loss.
        train_cfg (dict | None): ``assigner``, ``sampler``, ``allowed_border`` (-1) and
            ``pos_weight`` (-1).
        test_cfg (dict | None): ``nms_pre``, ``max_per_img``, ``nms``,
            ``min_bbox_size`` and ``score_thr``.
        init_cfg (dict | list[dict] | None): Initial weights.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int = 256,
        num_classes: int = 1,
        num_convs: int = 1,
        anchor_generator: dict = ANCHORS,
        bbox_coder: dict = BOX_CODER,
        reg_decoded_bbox: bool = False,
        loss_cls: dict = OBJECTNESS_LOSS,
        loss_bbox: dict = BOX_LOSS,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = INITIAL_WEIGHTS,
    ) -> None:
        if num_classes != 1:
            raise UserError(
                f'RegionProposalHead tells objects from background: num_classes must '
                f'be 1, not {num_classes}. The classes belong to roi_head.bbox_head.'
            )
        sigmoid = loss_cls.get('use_sigmoid', False)
        outputs = 1 if sigmoid else 2
        generator = TASK_UTILS.build(anchor_generator)
        coder = DeltaBoxCoder.of(TASK_UTILS.build(bbox_coder))
        anchors = anchors_a_cell(generator)
        channels = anchors * outputs, anchors * coder.encode_size
        super().__init__(in_channels, feat_channels, num_convs, *channels, init_cfg)
        self.prior_generator = generator
        self.bbox_coder = coder
        self.reg_decoded_bbox = reg_decoded_bbox
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.anchor_grid = AnchorGridCache(generator)
        # What mmdet's AnchorHead is asked for.
        self.num_classes = num_classes
        self.num_base_priors = anchors
        self.use_sigmoid_cls = sigmoid
        self.cls_out_channels = outputs
        if train_cfg:
            self.assigner = TASK_UTILS.build(train_cfg['assigner'])
            self.sampler = TASK_UTILS.build(
                train_cfg['sampler'], default_args=dict(context=self)
            )
            if getattr(self.sampler, 'add_gt_as_proposals', False):
                raise UserError(
                    'RegionProposalHead samples anchors, which are fixed: set '
                    'add_gt_as_proposals=False in train_cfg.rpn.sampler.'
                )

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """Return the losses of a batch; see :meth:`loss_by_feat`."""
        images = images_of(batch_data_samples, x[0].device, training=True)
        scores, deltas = self(x)
        return self.loss_by_feat(scores, deltas, images.gt, images, images.ignored)

    def loss_and_predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: list[DetDataSample],
        proposal_cfg: dict | None = None,
    ) -> tuple[dict[str, Tensor], Proposals]:
        """Return the losses, and the proposals that the second stage trains on."""
        images = images_of(batch_data_samples, x[0].device, training=True)
        scores, deltas = self(x)
        losses = self.loss_by_feat(scores, deltas, images.gt, images, images.ignored)
        return losses, self.predict_by_feat(scores, deltas, images, cfg=proposal_cfg)

    def predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: list[DetDataSample],
        rescale: bool = False,
    ) -> Proposals:
        """Return the proposals, in original image pixels where ``rescale``."""
        images = images_of(batch_data_samples, x[0].device, training=False)
        scores, deltas = self(x)
        return self.predict_by_feat(scores, deltas, images, rescale=rescale)

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_img_metas: Sequence[dict],
        cfg: dict | None = None,
        rescale: bool = False,
    ) -> Proposals:
        """Turn the maps of a batch into proposals.

        Args:
            cls_scores (Sequence[Tensor]): L objectness maps.
            bbox_preds (Sequence[Tensor]): L delta maps.
            batch_img_metas (Sequence[dict]): With ``img_shape``.
            cfg (dict | None): Instead of ``test_cfg``.
            rescale (bool): Whether to answer in original image pixels.

        Returns:
            Proposals: Ranked, in fixed slots.
        """
        grid, scores, deltas = self._flatten(cls_scores, bbox_preds)
        scores, deltas = scores.detach(), deltas.detach()
        # A softmax over two logits is the sigmoid of their difference.
        logits = scores[..., 0]
        if self.cls_out_channels == 2:
            logits = logits - scores[..., 1]
        images = ImageBatch.of(batch_img_metas, logits.device)
        proposals = self.select_proposals(
            logits,
            deltas,
            grid.boxes,
            grid.sizes,
            images.sizes,
            ProposalRules.of(cfg or self.test_cfg),
        )
        return proposals.rescaled(images.scale_factors) if rescale else proposals

    def select_proposals(
        self,
        logits: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        level_sizes: list[int],
        sizes: Tensor,
        rules: ProposalRules,
    ) -> Proposals:
        """Decode and rank; see :func:`mmfrcnn.modeling.proposals.select_proposals`."""
        decode = self.bbox_coder.decode
        return select_proposals(
            logits, deltas, anchors, level_sizes, sizes, decode, rules
        )

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: Instances,
        batch_img_metas: Sequence[dict],
        batch_gt_instances_ignore: Instances | None = None,
    ) -> dict[str, Tensor]:
        """Assign, sample, and compare the sampled anchors with their targets.

        Args:
            cls_scores (Sequence[Tensor]): L objectness maps.
            bbox_preds (Sequence[Tensor]): L delta maps.
            batch_gt_instances (Sequence[InstanceData]): With ``bboxes``.
            batch_img_metas (Sequence[dict]): With ``img_shape`` and ``pad_shape``; or
                an ``ImageBatch``, which brings the ground truth along.
            batch_gt_instances_ignore (Sequence[InstanceData] | None): With ``bboxes``.

        Returns:
            dict: ``loss_rpn_cls`` and ``loss_rpn_bbox``, both averaged over the samples
            of the batch; and figures for the log, without ``loss`` in their names.
        """
        grid, scores, deltas = self._flatten(cls_scores, bbox_preds)
        images = ImageBatch.of(
            batch_img_metas,
            scores.device,
            batch_gt_instances,
            batch_gt_instances_ignore,
        )
        sample, targets, figures = sample_anchors(
            self.assigner,
            self.sampler,
            grid,
            images,
            self.train_cfg.get('allowed_border', -1),
        )
        index = sample.indices  # (N, K)
        losses = self.loss_of_sample(
            sample,
            gather_rows(scores, index),
            gather_rows(deltas, index),
            grid.boxes[index],
            targets,
        )
        return losses | figures

    def loss_of_sample(
        self,
        sample: Sample,
        scores: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        targets: Tensor,
    ) -> dict[str, Tensor]:
        """Losses over N x K sampled anchors: scores (N, K, C), the others (N, K, 4)."""
        return anchor_losses(self, sample, scores, deltas, anchors, targets)

    def _flatten(
        self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor]
    ) -> tuple[AnchorGrid, Tensor, Tensor]:
        """Line maps up with anchors: scores (N, S, C), deltas (N, S, 4), float32."""
        sizes = [(level.shape[-2], level.shape[-1]) for level in cls_scores]
        grid = self.anchor_grid(sizes, cls_scores[0].device)
        scores = flatten_levels(cls_scores, self.cls_out_channels)
        deltas = flatten_levels(bbox_preds, self.bbox_coder.encode_size)
        return grid, scores, deltas
