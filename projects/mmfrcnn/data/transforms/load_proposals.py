"""The pipeline step that gives an image its stored proposals."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from mmfrcnn.data.proposals import StoredProposals
from mmfrcnn.errors import UserError

COVERED = 0.9  # of a box's area, where it was moved as the proposals are


@TRANSFORMS.register_module()
class LoadStoredProposals(BaseTransform):
    """Load an image's proposals, and move them as the image was moved so far.

    Put it after every step that moves pixels (resize, flip, crop, rotate) and before
    ``PackDetInputs``; where boxes stay in the original image's pixels, as in a test
    pipeline, before ``LoadAnnotations``. The steps before it must note what they do in
    ``homography_matrix``, as mmdet's Resize, RandomFlip, RandomCrop, Rotate, Shear and
    Translate do. One that moves boxes and doesn't (Mosaic, Expand) is found out by
    comparing the ground truth before and after, and refused.

    Required keys: ``img_id``, ``ori_shape``, ``img_shape``. Added keys: ``proposals``
    (P, 4) xyxy in pixels of the transformed image, float32; ``proposals_scores`` (P,).

    Args:
        file (str): Proposals, as ``tools/store_proposals.py`` writes them.
        max_per_img (int): Take at most so many, the best; not positive: all.

    Raises:
        UserError: If the file is missing or is none of proposals, if it lacks the
            image, or the boxes were moved in a way that is not noted.
    """

    def __init__(self, file: str, max_per_img: int = -1) -> None:
        self.stored = StoredProposals(file)
        self.max_per_img = max_per_img

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the proposals of one image."""
        proposals = self.stored[results['img_id']]
        if tuple(results['ori_shape'][:2]) != proposals.size:
            (h, w), (height, width) = proposals.size, results['ori_shape'][:2]
            raise UserError(
                f'{self.stored.path} is of other images: {results["img_id"]!r} is '
                f'{width}x{height}, its proposals are of one of {w}x{h}'
            )
        matrix = results.get('homography_matrix')
        if matrix is None:
            matrix = np.eye(3)
        self._check_moves(results, matrix)
        count = self.max_per_img if self.max_per_img > 0 else len(proposals.boxes)
        boxes = project(proposals.boxes[:count], matrix)
        height, width = results['img_shape'][:2]
        boxes = boxes.clip(0, [width, height, width, height])
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
        results['proposals'] = boxes[inside].astype(np.float32)
        results['proposals_scores'] = proposals.scores[:count][inside]
        return results

    def _check_moves(self, results: dict[str, Any], matrix: np.ndarray) -> None:
        """Compare the ground truth as annotated, moved by the matrix, with that now."""
        annotated = [one['bbox'] for one in results.get('instances') or ()]
        now = results.get('gt_bboxes')
        if now is None or not annotated:
            return
        now = np.asarray(getattr(now, 'tensor', now), np.float64).reshape(-1, 4)
        moved = project(np.array(annotated), matrix)
        if (_covered(now, moved) < COVERED).any():
            raise UserError(
                f'LoadStoredProposals: image {results["img_id"]!r}: its boxes are not '
                'where the noted moves of the image put them, so its proposals would '
                'be misplaced too. Leave out steps that join or move images without '
                'noting it in homography_matrix (Mosaic, MixUp, Expand, '
                'RandomAffine), and in a test pipeline load proposals before '
                'LoadAnnotations'
            )

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(file={self.stored.path!r}, '
            f'max_per_img={self.max_per_img})'
        )


def project(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the bounds of boxes (P, 4) xyxy whose corners a 3x3 matrix moves."""
    x1, y1, x2, y2 = np.asarray(boxes, np.float64).reshape(-1, 4).T
    ones = np.ones_like(x1)
    corners = np.stack(
        [np.stack([x, y, ones], -1) for x in (x1, x2) for y in (y1, y2)], 1
    )  # (P, 4 corners, 3)
    moved = corners @ np.asarray(matrix, np.float64).T
    points = moved[..., :2] / moved[..., 2:]
    return np.concatenate([points.min(1), points.max(1)], -1)


def _covered(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Return how much of each inner box its best outer box covers, 0 to 1, shape (K,).

    Boxes without area count as covered.
    """
    low = np.maximum(inner[:, None, :2], outer[None, :, :2])
    high = np.minimum(inner[:, None, 2:], outer[None, :, 2:])
    shared = (high - low).clip(0).prod(-1).max(1, initial=0)
    area = (inner[:, 2:] - inner[:, :2]).clip(0).prod(-1)
    return np.where(area > 0, shared / np.maximum(area, 1e-9), 1.0)
