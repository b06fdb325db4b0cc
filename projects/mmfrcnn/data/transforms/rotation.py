"""Rotation that keeps boxes tight around the objects, not around the rotated boxes.

A box turned by some degrees and boxed again has grown: a square by 41% at 45 degrees.
mmdet's `Rotate` gives that box. Here it is found from the object's outline instead.
Where there is none, nobody can say where in its box the object is, and the box is
mmdet's: larger than the object perhaps, but it never cuts one.
"""

from __future__ import annotations

import numpy as np
import torch
from mmdet.datasets.transforms import Rotate
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import PolygonMasks


@TRANSFORMS.register_module()
class TightRotate(Rotate):
    """mmdet's `Rotate` (its arguments), with tight boxes where there are outlines.

    Outlines are used where ``LoadAnnotations`` has loaded them, by ``with_mask=True,
    poly2mask=False``; an object without one gets the box around its turned box. Boxes
    are clipped to the image. The part of an object that leaves
    the image still counts towards its box, as there is no telling what is in sight.
    """

    def _transform_bboxes(self, results: dict, mag: float) -> None:
        boxes = results['gt_bboxes']
        matrix = self.homography_matrix.astype(np.float64)[:2]
        boxes.project_(self.homography_matrix)
        tight = boxes.tensor.numpy().astype(np.float64)
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
