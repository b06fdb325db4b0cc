"""Which box heads the batched RoI head can stand for."""

from __future__ import annotations

from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import nn

from mmfrcnn.errors import UserError

# What the RoI head computes for the whole batch instead: a box head that has its own
# way with any of these would silently not be asked.
BATCHED_METHODS = (
    'loss',
    'loss_and_target',
    'get_targets',
    '_get_targets_single',
    'predict_by_feat',
    '_predict_by_feat_single',
)


def check_box_head(head: nn.Module) -> None:
    """Refuse a box head whose own targets or losses would be passed over.

    Raises:
        UserError: With the way out, mmdet's own RoI head.
    """
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
            'BatchedRoIHead computes targets, losses and detections of the whole '
            f"batch at once, but {type(head).__name__} {reason}. Use mmdet's "
            "'StandardRoIHead' with this box head; the other parts stay as they are."
        )
