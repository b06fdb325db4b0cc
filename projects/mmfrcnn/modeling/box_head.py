"""Which box heads the batched RoI heads can stand for."""

from __future__ import annotations

from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.registry import MODELS

from mmfrcnn.errors import UserError
from mmfrcnn.modeling.box_coder import DeltaBoxCoder

# What the RoI heads compute for the whole batch instead: a box head that has its own
# way with any of these would silently not be asked.
BATCHED_METHODS = (
    'loss',
    'loss_and_target',
    'get_targets',
    '_get_targets_single',
    'predict_by_feat',
    '_predict_by_feat_single',
)


def build_box_head(cfg: dict) -> BBoxHead:
    """Build a box head of mmdet's standard targets and losses.

    Raises:
        UserError: For a head whose own would be passed over, with the way out, mmdet's
            own RoI heads.
    """
    head = MODELS.build(cfg)
    _check_methods(head)
    head.bbox_coder = DeltaBoxCoder.of(head.bbox_coder)
    return head


def _check_methods(head: BBoxHead) -> None:
    own = [
        method
        for method in BATCHED_METHODS
        if getattr(type(head), method, None) is not getattr(BBoxHead, method)
    ]
    if own or head.custom_activation or head.custom_cls_channels:
        reason = (
            f'has its own {", ".join(own)}' if own else 'has a loss of its own kind'
        )
        raise UserError(
            'The batched RoI heads compute targets, losses and detections of the whole '
            f"batch at once, but {type(head).__name__} {reason}. Use mmdet's "
            "'StandardRoIHead' or 'CascadeRoIHead' with this box head; the other parts "
            'stay as they are.'
        )
