"""What came nearest to objects of which no network has made anything."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import box_iou

from mmfrcnn.evaluation.ledger.nearest import Nearest


def nearest_to(boxes: np.ndarray, found: np.ndarray, anchor_iou=np.nan) -> Nearest:
    """Return it of objects and detections, with anchors of some IoU."""
    count = len(boxes)
    none = np.full((count, 4), np.nan)
    iou, place = np.full(count, np.nan), np.full(count, -1)
    if len(found) and count:
        best = box_iou(torch.tensor(boxes), torch.tensor(found).double()).max(1)
        iou, place = best.values.numpy(), best.indices.numpy()
    anchors = np.broadcast_to(anchor_iou, count), none, np.full(count, -1)
    return Nearest(*anchors, np.full(count, np.nan), none, iou, place)
