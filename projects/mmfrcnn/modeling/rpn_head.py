"""The RPN head: a 3x3 convolution, objectness and box deltas of every anchor.

Shapes: N images, L levels, A anchors a cell, S = sum over levels of A * H_l * W_l,
G ground-truth slots, K samples an image, C objectness channels (1 sigmoid, 2 softmax).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.anchors import AnchorGrid, AnchorGridCache
from mmfrcnn.modeling.box_loss import positive_box_loss
from mmfrcnn.modeling.per_image import assign_batch, sample_batch
from mmfrcnn.modeling.proposals import ProposalRules, select_proposals
from mmfrcnn.modeling.sampler import image_keys
from mmfrcnn.structures.padded_instances import image_sizes, pad_instances
from mmfrcnn.structures.proposals import Proposals
from mmfrcnn.structures.sample import Sample

ANCHORS = dict(
    type='AnchorGenerator',
    scales=[8, 16, 32],
    ratios=[0.5, 1.0, 2.0],
    strides=[4, 8, 16, 32, 64],
)
BOX_CODER = dict(type='DeltaXYWHBBoxCoder')
OBJECTNESS_LOSS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
BOX_LOSS = dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)
INITIAL_WEIGHTS = dict(type='Normal', layer='Conv2d', std=0.01)


@MODELS.register_module()
class RegionProposalHead(BaseModule):
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

    select_proposals = staticmethod(select_proposals)

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
        super().__init__(init_cfg=init_cfg)
        if num_classes != 1:
            raise UserError(
                f'RegionProposalHead tells objects from background: num_classes must '
                f'be 1, not {num_classes}. The classes belong to roi_head.bbox_head.'
            )
        self.reg_decoded_bbox = reg_decoded_bbox
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.prior_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        # What mmdet's AnchorHead is asked for.
        self.in_channels = in_channels
        self.feat_channels = feat_channels
        self.num_classes = num_classes
        self.use_sigmoid_cls = loss_cls.get('use_sigmoid', False)
        self.cls_out_channels = 1 if self.use_sigmoid_cls else 2
        self.anchor_grid = AnchorGridCache(self.prior_generator)
        self._build_layers(in_channels, feat_channels, num_convs)
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

    def _build_layers(
        self, in_channels: int, feat_channels: int, num_convs: int
    ) -> None:
        anchors = set(self.prior_generator.num_base_priors)
        if len(anchors) != 1:
            raise UserError(
                'RegionProposalHead shares its convolutions between levels: '
                'anchor_generator must give every level as many anchors, not '
                f'{anchors}.'
            )
        (self.num_base_priors,) = anchors
        if num_convs == 1:
            self.rpn_conv: nn.Module = nn.Conv2d(
                in_channels, feat_channels, 3, padding=1
            )
        else:
            widths = [in_channels] + [feat_channels] * num_convs
            self.rpn_conv = nn.Sequential(
                *(
                    ConvModule(wide, out, 3, padding=1, inplace=False)
                    for wide, out in pairwise(widths)
                )
            )
        self.rpn_cls = nn.Conv2d(
            feat_channels, self.num_base_priors * self.cls_out_channels, 1
        )
        self.rpn_reg = nn.Conv2d(
            feat_channels, self.num_base_priors * self.bbox_coder.encode_size, 1
        )

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Score and regress the anchors of every level.

        Args:
            x (Sequence[Tensor]): L feature maps, each (N, in_channels, H_l, W_l).

        Returns:
            tuple: L objectness maps (N, A * C, H_l, W_l) and L delta maps
            (N, A * 4, H_l, W_l).
        """
        hidden = [F.relu(self.rpn_conv(level)) for level in x]
        return [self.rpn_cls(h) for h in hidden], [self.rpn_reg(h) for h in hidden]

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: list[DetDataSample]
    ) -> dict[str, Tensor]:
        """Return the two losses of a batch; see :meth:`loss_by_feat`."""
        truth, ignored, metas = unpack_gt_instances(batch_data_samples)
        scores, deltas = self(x)
        return self.loss_by_feat(scores, deltas, truth, metas, ignored)

    def loss_and_predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: list[DetDataSample],
        proposal_cfg: dict | None = None,
    ) -> tuple[dict[str, Tensor], Proposals]:
        """Return the losses, and the proposals that the second stage trains on."""
        truth, ignored, metas = unpack_gt_instances(batch_data_samples)
        scores, deltas = self(x)
        losses = self.loss_by_feat(scores, deltas, truth, metas, ignored)
        return losses, self.predict_by_feat(scores, deltas, metas, cfg=proposal_cfg)

    def predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: list[DetDataSample],
        rescale: bool = False,
    ) -> Proposals:
        """Return the proposals, in original image pixels where ``rescale``."""
        metas = [sample.metainfo for sample in batch_data_samples]
        scores, deltas = self(x)
        return self.predict_by_feat(scores, deltas, metas, rescale=rescale)

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_img_metas: list[dict],
        cfg: dict | None = None,
        rescale: bool = False,
    ) -> Proposals:
        """Turn the maps of a batch into proposals.

        Args:
            cls_scores (Sequence[Tensor]): L objectness maps.
            bbox_preds (Sequence[Tensor]): L delta maps.
            batch_img_metas (list[dict]): With ``img_shape``.
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
        proposals = self.select_proposals(
            logits,
            deltas,
            grid.boxes,
            grid.sizes,
            image_sizes(batch_img_metas, logits.device),
            self.bbox_coder.decode,
            _proposal_rules(cfg or self.test_cfg),
        )
        return proposals.rescaled(batch_img_metas) if rescale else proposals

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Assign, sample, and compare the sampled anchors with their targets.

        Args:
            cls_scores (Sequence[Tensor]): L objectness maps.
            bbox_preds (Sequence[Tensor]): L delta maps.
            batch_gt_instances (list[InstanceData]): With ``bboxes``.
            batch_img_metas (list[dict]): With ``img_shape`` and ``pad_shape``.
            batch_gt_instances_ignore (list[InstanceData] | None): With ``bboxes``.

        Returns:
            dict: ``loss_rpn_cls`` and ``loss_rpn_bbox``, both averaged over the samples
            of the batch.
        """
        grid, scores, deltas = self._flatten(cls_scores, bbox_preds)
        device = scores.device
        truth = pad_instances(batch_gt_instances, device)
        regions = batch_gt_instances_ignore or [None] * len(batch_gt_instances)
        nothing = InstanceData(bboxes=torch.zeros(0, 4))
        ignored = pad_instances([one or nothing for one in regions], device)
        valid = self._valid_anchors(grid, batch_img_metas, device)

        assignment = assign_batch(self.assigner, grid.boxes, truth, ignored, valid)
        sample = sample_batch(
            self.sampler,
            assignment,
            image_keys(batch_img_metas, device),
            grid.boxes,
            truth,
            prior_ids=grid.ids,
        )
        index = sample.indices  # (N, K)
        matched = assignment.matched.gather(1, index)[..., None].expand(-1, -1, 4)
        return self.loss_of_sample(
            sample,
            scores.gather(1, index[..., None].expand(-1, -1, scores.shape[-1])),
            deltas.gather(1, index[..., None].expand(-1, -1, deltas.shape[-1])),
            grid.boxes[index],
            truth.boxes.gather(1, matched),
        )

    def loss_of_sample(
        self,
        sample: Sample,
        scores: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        targets: Tensor,
    ) -> dict[str, Tensor]:
        """Losses over N x K sampled anchors: scores (N, K, C), the others (N, K, 4)."""
        positive, valid = sample.positive, sample.valid
        weight = valid.float()
        pos_weight = self.train_cfg.get('pos_weight', -1)
        if pos_weight > 0:
            weight = torch.where(positive, pos_weight, weight)
        # mmdet counts at least one positive and one negative an image.
        negatives = (valid & ~positive).sum(1).clamp(min=1)
        samples = (positive.sum(1).clamp(min=1) + negatives).sum().float()

        if self.cls_out_channels == 1:
            # As one-hot targets: class indices would be looked up with a host wait.
            loss_cls = self.loss_cls(
                scores.reshape(-1, 1),
                positive.reshape(-1, 1).float(),
                weight.view(-1, 1),
                avg_factor=samples,
            )
        else:
            loss_cls = self.loss_cls(
                scores.reshape(-1, 2),
                (~positive).view(-1).long(),
                weight.view(-1),
                avg_factor=samples,
            )
        anchors, deltas = anchors.reshape(-1, 4), deltas.reshape(-1, 4)
        # Slots without a ground truth get a harmless target and weight 0.
        targets = torch.where(positive[..., None], targets, anchors.view_as(targets))
        targets = targets.view(-1, 4)
        if self.reg_decoded_bbox:
            deltas = self.bbox_coder.decode(anchors, deltas)
        else:
            targets = self.bbox_coder.encode(anchors, targets)
        loss_bbox = positive_box_loss(
            self.loss_bbox, deltas, targets, positive.view(-1), samples
        )
        return dict(loss_rpn_cls=loss_cls, loss_rpn_bbox=loss_bbox)

    def _flatten(
        self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor]
    ) -> tuple[AnchorGrid, Tensor, Tensor]:
        """Line maps up with anchors: scores (N, S, C), deltas (N, S, 4), float32."""
        sizes = [(level.shape[-2], level.shape[-1]) for level in cls_scores]
        grid = self.anchor_grid(sizes, cls_scores[0].device)

        def flat(maps: Sequence[Tensor], channels: int) -> Tensor:
            # (N, A * channels, H, W) -> (N, H * W * A, channels), anchors innermost
            rows = [
                level.permute(0, 2, 3, 1).reshape(
                    len(level), level.shape[1:].numel() // channels, channels
                )
                for level in maps
            ]
            return torch.cat(rows, 1).float()

        scores = flat(cls_scores, self.cls_out_channels)
        return grid, scores, flat(bbox_preds, self.bbox_coder.encode_size)

    def _valid_anchors(
        self, grid: AnchorGrid, metas: list[dict], device: torch.device
    ) -> Tensor | None:
        """Anchors that may be trained on, bool (N, S); None where all may."""
        padded = None
        y, x = grid.reach
        if any(h <= y or w <= x for h, w in (meta['pad_shape'][:2] for meta in metas)):
            padded = image_sizes(metas, device, 'pad_shape')
        border = self.train_cfg.get('allowed_border', -1)
        inside = None
        if border >= 0:
            inside = image_sizes(metas, device)
            for meta in metas:
                if not grid.any_inside(tuple(meta['img_shape'][:2]), border):
                    raise _no_anchor(meta, border)
        return grid.valid(padded, inside, border)


def _no_anchor(meta: dict, border: float) -> UserError:
    """Refuse an image that the RPN could never be trained on, as mmdet does."""
    image = meta.get('img_path') or f'An image of {meta.get("ori_shape", "unknown")} px'
    return UserError(
        f'{image}: resized to {tuple(meta["img_shape"][:2])} px (height, width), no '
        f'anchor lies inside it (train_cfg.rpn.allowed_border={border}). Leave it out, '
        'train on larger images, give anchor_generator smaller scales, or set '
        'allowed_border=-1, which lets anchors cross the border.'
    )


def _proposal_rules(cfg: dict) -> ProposalRules:
    nms = dict(cfg['nms'])
    kind, threshold = nms.pop('type', 'nms'), nms.pop('iou_threshold')
    nms.pop('split_thr', None)  # mmcv's memory bound, which groups do not need
    if kind != 'nms' or nms:
        raise UserError(
            'RegionProposalHead suppresses proposals with '
            "nms=dict(type='nms', iou_threshold=...) and nothing else; the config has "
            f'{dict(cfg["nms"])}.'
        )
    return ProposalRules(
        nms_pre=cfg.get('nms_pre', -1),
        max_per_img=cfg.get('max_per_img', -1),
        iou_threshold=threshold,
        min_bbox_size=cfg.get('min_bbox_size', -1),
        score_thr=cfg.get('score_thr', 0.0),
    )
