"""Rotation that keeps boxes tight around the objects, not around the rotated boxes.

A box turned by some degrees and boxed again has grown: a square by 41% at 45 degrees.
mmdet's `Rotate` gives that box. Here it is found from the object's outline instead, or,
where there is none, from the ellipse inside its box: exact for round things, close for
most, and never larger.
"""

from __future__ import annotations

import numpy as np
import torch
from mmdet.datasets.transforms import Rotate
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import PolygonMasks


@TRANSFORMS.register_module()
class TightRotate(Rotate):
    """mmdet's `Rotate` (its arguments), with tight boxes.

    Outlines are used where ``LoadAnnotations`` has loaded them, by ``with_mask=True,
    poly2mask=False``; boxes are clipped to the image. The part of an object that leaves
    the image still counts towards its box, as there is no telling what is in sight.
    """

    def _transform_bboxes(self, results: dict, mag: float) -> None:
        boxes = results['gt_bboxes']
        corners = boxes.tensor.numpy().astype(np.float64)
        matrix = self.homography_matrix.astype(np.float64)[:2]
        tight = ellipse_boxes(corners, matrix)
        masks = results.get('gt_masks')
        for index, polygons in enumerate(
            masks if isinstance(masks, PolygonMasks) else []
        ):
            points = np.concatenate([np.reshape(part, (-1, 2)) for part in polygons])
            if len(points) > 2 and np.ptp(points, axis=0).all():  # crowds have none
                turned = points @ matrix[:, :2].T + matrix[:, 2]
                tight[index] = [*turned.min(axis=0), *turned.max(axis=0)]
        boxes.tensor = torch.from_numpy(tight).to(boxes.tensor)
        boxes.clip_(results['img_shape'])


def ellipse_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Transform the ellipses inside boxes, and box them.

    Args:
        boxes (np.ndarray): xyxy, (G, 4).
        matrix (np.ndarray): Affine transform of points (x, y, 1), (2, 3).

    Returns:
        np.ndarray: xyxy, (G, 4).

    Example:
        >>> quarter_turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> ellipse_boxes(np.array([[0.0, 0.0, 4.0, 2.0]]), quarter_turn).tolist()
        [[-2.0, 0.0, 0.0, 4.0]]
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    semi_axes = (boxes[:, 2:] - boxes[:, :2]) / 2
    # A point a*cos(t), b*sin(t) reaches sqrt((m1 a)^2 + (m2 b)^2) along each direction.
    reach = np.sqrt(semi_axes**2 @ (matrix[:, :2] ** 2).T)
    return np.concatenate([centres - reach, centres + reach], axis=1)
