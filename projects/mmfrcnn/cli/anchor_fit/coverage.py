"""How well anchors cover objects, and how many each object is trained on.

Shapes: G objects of all images, L levels of the pyramid, A anchors a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.models.task_modules import AnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor

from mmfrcnn.cli.anchor_fit.objects import Objects
from mmfrcnn.modeling.anchors import AnchorGridCache
from mmfrcnn.modeling.nearest_anchor import pyramid_iou
from mmfrcnn.modeling.per_image import assign_batch, sample_batch
from mmfrcnn.modeling.rpn_training import trainable_anchors
from mmfrcnn.structures.assignment import POSITIVE
from mmfrcnn.structures.image_batch import ImageBatch

AT_ONCE = 1 << 14
"""Objects whose anchors are looked for at once, so that memory is bounded."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """The anchors of each object.

    Attributes:
        iou (np.ndarray): Of the nearest anchor, that of the largest IoU, (G,).
        level (np.ndarray): Its level, the finest of equals, int, (G,).
        positives (np.ndarray): Anchors that the assigner gives the object, int, (G,).
        sampled (np.ndarray): Those of them that a step is trained on, int, (G,).
    """

    iou: np.ndarray
    level: np.ndarray
    positives: np.ndarray
    sampled: np.ndarray

    def recall(self, threshold: float) -> float:
        """Return the share of objects with an anchor of at least this IoU."""
        return float((self.iou >= threshold).mean())


def cover(objects: Objects, generator: AnchorGenerator, train_cfg: Any) -> Coverage:
    """Find the nearest anchors of objects, then assign and sample as training does.

    Args:
        objects (Objects): With their images, one object at least.
        generator (AnchorGenerator): mmdet's.
        train_cfg (dict): Of the RPN: ``assigner``, ``sampler``, ``allowed_border``.

    Raises:
        UserError: If no anchor lies inside an image, and ``allowed_border`` asks that.
    """
    parts = [
        objects.part(slice(start, start + AT_ONCE))
        for start in range(0, len(objects.boxes), AT_ONCE)
    ]
    iou = np.concatenate([anchor_iou(part, generator).max(2) for part in parts])
    positives, sampled = _trained_on(objects.images, generator, train_cfg)
    return Coverage(iou.max(1), iou.argmax(1), positives, sampled)


def anchor_iou(objects: Objects, generator: AnchorGenerator) -> np.ndarray:
    """Return the largest IoU of each object with each anchor of a cell on each level.

    Args:
        objects (Objects): Their images do not matter.
        generator (AnchorGenerator): Of A anchors a cell, on all levels.

    Returns:
        np.ndarray: float64, shape (G, L, A).
    """
    cells = grid_sizes(objects.padded, generator.strides)
    return pyramid_iou(objects.boxes, generator, cells)


def grid_sizes(
    padded: np.ndarray, strides: Sequence[tuple[int, int]]
) -> list[np.ndarray]:
    """Return columns and rows of each level of the pyramid.

    As many steps as it takes to cross the image, which is how mmdet counts them.

    Args:
        padded (np.ndarray): Width and height of padded images, (..., 2).
        strides (Sequence[tuple]): Steps (x, y) of each level.

    Returns:
        list[np.ndarray]: A level each, int, (..., 2).
    """
    return [-(-padded // np.array(stride)) for stride in strides]


def _trained_on(
    images: Sequence[ImageBatch], generator: AnchorGenerator, train_cfg: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Count the anchors assigned to each object, and those sampled, int (G,) each."""
    grids = AnchorGridCache(generator)
    assigner = TASK_UTILS.build(train_cfg['assigner'])
    sampler = TASK_UTILS.build(train_cfg['sampler'])
    border = train_cfg.get('allowed_border', -1)
    counts = [torch.zeros(2, 0, dtype=torch.int64)]
    for image in images:
        assert image.gt is not None and image.ignored is not None
        padded = np.array(image[0]['pad_shape'][1::-1])
        sizes = [(int(h), int(w)) for w, h in grid_sizes(padded, generator.strides)]
        grid = grids(sizes, torch.device('cpu'))
        valid = trainable_anchors(grid, image, border)
        assignment = assign_batch(assigner, grid.boxes, image.gt, image.ignored, valid)
        sample = sample_batch(
            *(sampler, assignment, image.keys, grid.boxes, image.gt), prior_ids=grid.ids
        )
        chosen = torch.zeros_like(assignment.match_labels, dtype=torch.bool)
        chosen[0, sample.indices[sample.positive]] = True
        counts.append(
            torch.stack(
                [
                    _of_each(assignment.matched_idxs[which], image.gt.mask[0])
                    for which in (assignment.match_labels == POSITIVE, chosen)
                ]
            )
        )
    positives, sampled = torch.cat(counts, 1).numpy()
    return positives, sampled


def _of_each(matched: Tensor, mask: Tensor) -> Tensor:
    """Count the anchors matched with each object of an image; slots (G,) hold them."""
    return torch.bincount(matched, minlength=len(mask))[mask]
