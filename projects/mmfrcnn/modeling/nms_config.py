"""The one place that reads mmdet's ``nms=dict(...)``."""

from __future__ import annotations

from typing import Any


def plain_nms_threshold(nms: dict[str, Any]) -> float | None:
    """Return the IoU threshold of plain greedy NMS, None for any other kind.

    Args:
        nms (dict): ``type`` ('nms' by default) and ``iou_threshold``;
            ``class_agnostic`` does not change the kind. Nor does ``split_thr``, which
            is needless: from so many boxes on, mmcv suppresses class by class to bound
            its memory; :func:`mmfrcnn.ops.nms.grouped_nms` always does, in bounded
            memory, and the result is the same.
    """
    others = set(nms) - {'type', 'iou_threshold', 'split_thr', 'class_agnostic'}
    if nms.get('type', 'nms') != 'nms' or others:
        return None
    return nms.get('iou_threshold')
