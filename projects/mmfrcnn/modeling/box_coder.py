"""The box code that configs name, over `mmfrcnn.ops.delta`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.task_modules import BaseBBoxCoder
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import HorizontalBoxes, get_box_tensor
from torch import Tensor

from mmfrcnn.ops.delta import (
    DEVIATIONS,
    MEANS,
    SMALLEST_RATIO,
    decode_boxes,
    encode_boxes,
)


@TASK_UTILS.register_module()
class DeltaBoxCoder(BaseBBoxCoder):
    """Deltas of centre and log size (Girshick et al. 2014, appendix C).

    Takes the arguments of mmdet's ``DeltaXYWHBBoxCoder`` and gives its results, without
    its copies of constants to the device, each of which makes the host wait.

    Args:
        target_means (Sequence[float]): Taken from the four deltas.
        target_stds (Sequence[float]): By which they are divided then.
        clip_border (bool): Whether :meth:`decode` clips to ``max_shape``.
        use_box_type (bool): Whether :meth:`decode` returns mmdet's box type.
    """

    def __init__(
        self,
        target_means: Sequence[float] = MEANS,
        target_stds: Sequence[float] = DEVIATIONS,
        clip_border: bool = True,
        use_box_type: bool = False,
    ) -> None:
        super().__init__(use_box_type=use_box_type)
        self.means = tuple(target_means)
        self.stds = tuple(target_stds)
        self.clip_border = clip_border

    @classmethod
    def of(cls, coder: BaseBBoxCoder) -> BaseBBoxCoder:
        """Return this class's coder in place of mmdet's, and any other as it is."""
        if type(coder) is not DeltaXYWHBBoxCoder or coder.add_ctr_clamp:
            return coder
        return cls(coder.means, coder.stds, coder.clip_border, coder.use_box_type)

    def encode(self, bboxes: Any, gt_bboxes: Any) -> Tensor:
        """Return the deltas (M, 4) from boxes (M, 4) to ground truth (M, 4), xyxy."""
        boxes, targets = get_box_tensor(bboxes), get_box_tensor(gt_bboxes)
        return encode_boxes(boxes, targets, self.means, self.stds)

    def decode(
        self,
        bboxes: Any,
        pred_bboxes: Tensor,
        max_shape: Sequence[int] | None = None,
        wh_ratio_clip: float = SMALLEST_RATIO,
    ) -> Any:
        """Apply deltas to boxes.

        Args:
            bboxes (Tensor | HorizontalBoxes): xyxy, shape (M, 4).
            pred_bboxes (Tensor): Deltas, shape (M, 4) or, for C classes, (M, 4 C).
            max_shape (Sequence[int] | None): (height, width) to clip to.
            wh_ratio_clip (float): Smallest ratio of a side to the box's.

        Returns:
            Tensor | HorizontalBoxes: xyxy, of the shape of ``pred_bboxes``.
        """
        boxes = get_box_tensor(bboxes)
        deltas = pred_bboxes.reshape(len(boxes), pred_bboxes.shape[-1] // 4, 4)
        decoded = decode_boxes(
            boxes[:, None], deltas, self.means, self.stds, wh_ratio_clip
        )
        if self.clip_border and max_shape is not None:
            height, width = max_shape[:2]
            decoded = torch.stack(
                [
                    side.clamp(0, width if axis % 2 == 0 else height)
                    for axis, side in enumerate(decoded.unbind(-1))
                ],
                -1,
            )
        decoded = decoded.view_as(pred_bboxes)
        return HorizontalBoxes(decoded) if self.use_box_type else decoded
