"""From objectness and deltas of all anchors to ranked proposals, for the whole batch.

Shapes: N images, S anchors over all levels, M candidates before NMS (the best of each
level), P proposal slots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.nms_config import plain_nms_threshold
from mmfrcnn.ops.nms import grouped_nms
from mmfrcnn.ops.rows import gather_rows
from mmfrcnn.structures.proposals import Proposals


@dataclass(frozen=True)
class ProposalRules:
    """How many proposals, and which.

    Args:
        nms_pre (int): Candidates a level before NMS; not positive: all.
        max_per_img (int): Proposals an image after NMS; not positive: all.
        iou_threshold (float): NMS within an image and level, above this IoU.
        min_bbox_size (float): Width and height must exceed this, in pixels; negative:
            no matter.
        score_thr (float): Objectness must be at least this.
    """

    nms_pre: int
    max_per_img: int
    iou_threshold: float
    min_bbox_size: float
    score_thr: float = 0.0

    @classmethod
    def of(cls, cfg: dict[str, Any]) -> ProposalRules:
        """Read mmdet's ``rpn_proposal`` or ``test_cfg.rpn``."""
        threshold = plain_nms_threshold(cfg['nms'])
        if threshold is None or 'class_agnostic' in cfg['nms']:
            raise UserError(
                'RegionProposalHead suppresses proposals with '
                "nms=dict(type='nms', iou_threshold=...) and nothing else; the config "
                f'has {dict(cfg["nms"])}.'
            )
        return cls(
            nms_pre=cfg.get('nms_pre', -1),
            max_per_img=cfg.get('max_per_img', -1),
            iou_threshold=threshold,
            min_bbox_size=cfg.get('min_bbox_size', -1),
            score_thr=cfg.get('score_thr', 0.0),
        )


@torch.no_grad()
def select_proposals(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    level_sizes: list[int],
    sizes: Tensor,
    decode: Callable[[Tensor, Tensor], Tensor],
    rules: ProposalRules,
) -> Proposals:
    """Top-k a level, decode, clip, drop the small, NMS, rank (Ren et al. 2015).

    Args:
        logits (Tensor): Objectness logits, float32, shape (N, S).
        deltas (Tensor): Box deltas, float32, shape (N, S, 4).
        anchors (Tensor): xyxy, shape (S, 4).
        level_sizes (list[int]): Anchors in each level, sum S.
        sizes (Tensor): (height, width) of each image, shape (N, 2).
        decode (Callable): (anchors (K, 4), deltas (K, 4)) -> boxes (K, 4).
        rules (ProposalRules): Numbers and thresholds.

    Returns:
        Proposals: In P slots, where P is the smaller of ``max_per_img`` and M.
    """
    images = len(logits)
    chosen, level_of, start = [], [], 0
    for level, (size, level_logits) in enumerate(
        zip(level_sizes, logits.split(level_sizes, 1), strict=True)
    ):
        count = min(rules.nms_pre, size) if rules.nms_pre > 0 else size
        chosen.append(level_logits.topk(count, dim=1).indices + start)  # (N, count)
        level_of.append(torch.full((count,), level, device=logits.device))
        start += size
    index = torch.cat(chosen, 1)  # (N, M)
    level_index = torch.cat(level_of)  # (M,)

    candidates = gather_rows(deltas, index)  # (N, M, 4)
    boxes = decode(anchors[index].view(-1, 4), candidates.view(-1, 4))
    limit = sizes.flip(-1).repeat(1, 2)[:, None]  # (N, 1, 4): w, h, w, h
    boxes = torch.minimum(boxes.view_as(candidates), limit).clamp_(min=0)
    scores = logits.gather(1, index).sigmoid()

    usable = (scores >= rules.score_thr) & torch.isfinite(boxes).all(-1)
    if rules.min_bbox_size >= 0:
        usable &= (boxes[..., 2:] - boxes[..., :2] > rules.min_bbox_size).all(-1)
    # What is not usable is put where it overlaps nothing: a box without area.
    boxes = torch.where(usable[..., None], boxes, 0.0)
    image_index = torch.arange(images, device=logits.device)[:, None]
    groups = image_index * len(level_sizes) + level_index  # (N, M)
    keep = grouped_nms(
        boxes.view(-1, 4),
        scores.view(-1),
        groups.view(-1),
        rules.iou_threshold,
        largest_group=max(of_level.shape[1] for of_level in chosen),
        num_groups=images * len(chosen),
    )
    ranked = scores.masked_fill(~(keep.view_as(usable) & usable), -1)
    slots = ranked.shape[1]
    if rules.max_per_img > 0:
        slots = min(rules.max_per_img, slots)
    top_scores, top = ranked.topk(slots, dim=1)  # (N, P)
    mask = top_scores >= 0
    boxes = gather_rows(boxes, top) * mask[..., None]
    return Proposals(boxes, top_scores.clamp(min=0), mask)
