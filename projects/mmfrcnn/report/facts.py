"""What is known of a run: what a report is made of.

Shapes: G objects, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmfrcnn.evaluation.ledger.columns import Columns


def sides_of(boxes: np.ndarray) -> np.ndarray:
    """Return the side of a square of the area of each box, xyxy (G, 4); (G,)."""
    return np.sqrt((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1))


@dataclass(frozen=True, eq=False)
class Split:
    """An evaluation.

    Attributes:
        columns (Columns): Its ledger.
        summary (dict): The sums of the ledger.
    """

    columns: Columns
    summary: dict[str, Any]

    @property
    def average_precision(self) -> float:
        """AP at the ledger's IoU, -1 without objects."""
        return float(self.summary['regained']['AP'])

    def share(self, *fates: str) -> float:
        """Return the share of the objects that have one of some fates."""
        objects = self.summary['objects']
        return sum(objects[fate] for fate in fates) / max(objects['total'], 1)

    @property
    def fates(self) -> np.ndarray:
        """Name of the fate of each object, (G,)."""
        return self.columns.fates[self.columns.object_fate]

    @property
    def kinds(self) -> np.ndarray:
        """Name of the kind of each detection, (D,)."""
        return self.columns.kinds[self.columns.detection_kind]

    @property
    def input_sides(self) -> np.ndarray:
        """Side of a square of each object's area, in pixels of the input, (G,)."""
        columns = self.columns
        scale = columns.image_scale[columns.object_image]
        return sides_of(columns.object_box * np.tile(scale, 2))


@dataclass(frozen=True, eq=False)
class Fed:
    """Objects of training images as the network is fed them, after augmentation.

    Attributes:
        sides (np.ndarray): Side of a square of each object's area, in pixels of the
            input, (G,).
        anchor_iou (np.ndarray | None): Of the nearest anchor of each, (G,); None where
            there is no grid of anchors.
        anchor_sides (tuple | None): Smallest and largest side of an anchor.
    """

    sides: np.ndarray
    anchor_iou: np.ndarray | None = None
    anchor_sides: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Facts:
    """All of a run that advice goes by.

    Attributes:
        held_out (Split): The evaluation of images that were not trained on.
        training (Split | None): That of some training images, seen as for testing.
        fed (Fed | None): What training is fed.
        class_counts (Sequence[int] | None): Objects of each class in training, (C,).
        settings (dict): Numbers of the detector's tests: ``nms_iou``, ``max_per_img``,
            ``proposals``, ``nms_pre``, ``rpn_nms_iou``; what it lacks is left out.
    """

    held_out: Split
    training: Split | None = None
    fed: Fed | None = None
    class_counts: Sequence[int] | None = None
    settings: dict[str, float] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.held_out.columns.classes.tolist()
