"""What came nearest to an object at each step, whether it reached it or not.

Shapes: G objects, D detections of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmfrcnn.evaluation.ledger.matching import NOBODY
from mmfrcnn.evaluation.ledger.trace import FirstStage, ImageTrace
from mmfrcnn.modeling.nearest_anchor import nearest_of_pyramid
from mmfrcnn.ops.iou import pairwise_iou


@dataclass(frozen=True, eq=False)
class Nearest:
    """The anchor, the proposal and the detection of largest IoU with each object.

    Boxes are xyxy in pixels of the image. What there is none of is NaN, or `NOBODY`.

    Attributes:
        anchor_iou (np.ndarray): (G,).
        anchor_box (np.ndarray): (G, 4).
        anchor_level (np.ndarray): Of the pyramid, int, (G,).
        proposal_iou (np.ndarray): (G,).
        proposal_box (np.ndarray): (G, 4).
        detection_iou (np.ndarray): Of a detection of whatever class, (G,).
        detection (np.ndarray): Place among the detections, int, (G,).
    """

    anchor_iou: np.ndarray
    anchor_box: np.ndarray
    anchor_level: np.ndarray
    proposal_iou: np.ndarray
    proposal_box: np.ndarray
    detection_iou: np.ndarray
    detection: np.ndarray

    @classmethod
    def of(
        cls,
        trace: ImageTrace,
        objects: Tensor,
        found: np.ndarray,
        scale: Sequence[float],
    ) -> Nearest:
        """Look for what came nearest.

        Args:
            trace (ImageTrace): Of the image.
            objects (Tensor): xyxy in pixels of the network's input, float32, (G, 4).
            found (np.ndarray): Detections, xyxy in pixels of the image, (D, 4).
            scale (Sequence[float]): What its width and height were scaled by.
        """
        factor = np.tile(scale, 2)
        anchors = _anchors(trace.first, objects.numpy())
        proposal_iou, proposal = _best(objects, trace.proposals)
        detections = torch.from_numpy(found * factor).to(objects)
        detection_iou, detection = _best(objects, detections)
        boxes = np.full((len(objects), 4), np.nan)
        if len(trace.proposals):
            boxes = trace.proposals[proposal].numpy()
        return cls(
            *(anchors[0], anchors[1] / factor, anchors[2]),
            *(proposal_iou, boxes / factor),
            *(detection_iou, detection),
        )


def _anchors(
    first: FirstStage | None, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return IoU, box in pixels of the input, and level of the nearest anchors."""
    if first is None:
        none = np.full((len(boxes), 5), np.nan)
        return none[:, 0], none[:, 1:], np.full(len(boxes), NOBODY)
    generator = first.head.prior_generator
    iou, level, anchors = nearest_of_pyramid(boxes, generator, first.cells)
    return iou, anchors, level


def _best(objects: Tensor, boxes: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest IoU of each object with some boxes, and whose it is."""
    if not len(boxes):
        return np.full(len(objects), np.nan), np.full(len(objects), NOBODY)
    iou, place = pairwise_iou(objects, boxes).max(1)
    return iou.numpy(), place.numpy()
