"""Which functions of a detector of mmdet's interface are which stage."""

from __future__ import annotations

from typing import Any

from mmfrcnn.modeling import rpn_head as heads
from mmfrcnn.training.stages import Region


def common_regions(model: Any) -> list[Region]:
    """Return the stages that mmdet's two-stage detectors and ours have alike.

    Args:
        model (nn.Module): A detector; parts that it does not have are passed over.
    """
    roi_head = getattr(model, 'roi_head', None)
    rpn_head = getattr(model, 'rpn_head', None)
    regions = [
        Region(model.data_preprocessor, 'forward', 'preprocess'),
        Region(model.backbone, 'forward', 'backbone'),
        Region(getattr(model, 'neck', None), 'forward', 'neck'),
        Region(rpn_head, 'forward', 'RPN convolutions'),
        Region(rpn_head, 'loss_by_feat', 'RPN losses'),
        Region(rpn_head, 'predict_by_feat', 'proposals'),
        Region(roi_head, 'loss', 'RoI assignment, sampling'),
        Region(
            getattr(roi_head, 'bbox_roi_extractor', None), 'forward', 'RoI features'
        ),
        Region(getattr(roi_head, 'bbox_head', None), 'forward', 'head linear layers'),
        Region(roi_head, 'predict', 'detections'),
    ]
    return [region for region in regions if hasattr(region.owner, region.attribute)]


def our_regions(model: Any) -> list[Region]:
    """Return the stages that only our heads have."""
    regions = [
        Region(heads, 'sample_anchors', 'anchors, assignment, sampling'),
        Region(getattr(model, 'roi_head', None), 'loss_of_sample', 'head losses'),
    ]
    return [region for region in regions if hasattr(region.owner, region.attribute)]
