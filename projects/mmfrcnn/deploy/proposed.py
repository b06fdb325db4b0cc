"""The first stage alone: what the RPN proposes in an image.

Shapes: P proposals of an image, C channels, (S, S) the size that regions are pooled to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.models.detectors import RPN
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from mmfrcnn.deploy.inputs import Given
from mmfrcnn.deploy.network import Network
from mmfrcnn.errors import UserError


@dataclass(frozen=True, eq=False, repr=False)
class Proposed:
    """The P regions proposed in an image, best first, as numpy arrays.

    Attributes:
        boxes (np.ndarray): xyxy in pixels of the image, after its EXIF rotation,
            float32, shape (P, 4).
        scores (np.ndarray): Objectness in [0, 1], float32, shape (P,).
        features (np.ndarray | None): What the second stage sees of each, pooled from
            the feature maps, float32, shape (P, C, S, S); None if not asked for.
        image_size (tuple[int, int]): (width, height) of the image, in pixels.
        path (str | None): The file of the image, if it was given as one.
    """

    boxes: np.ndarray
    scores: np.ndarray
    features: np.ndarray | None
    image_size: tuple[int, int]
    path: str | None

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        where = f' in {self.path}' if self.path else ''
        width, height = self.image_size
        return f'Proposed({len(self)} regions{where}, {width}x{height})'


@torch.no_grad()
def propose(
    network: Network,
    prepared: Sequence[dict[str, Any]],
    given: Sequence[Given],
    features: bool,
) -> list[Proposed]:
    """Return what the first stage proposes in prepared images.

    Args:
        network (Network): Of two stages.
        prepared (Sequence[dict]): The images.
        given (Sequence[Given]): As they were given.
        features (bool): Whether to pool the features of the regions.

    Raises:
        UserError: If the network has no first stage, or no second to pool features.
    """
    model = network.model
    is_alone = isinstance(model, RPN)
    head: Any = getattr(model, 'bbox_head' if is_alone else 'rpn_head', None)
    if head is None:
        raise UserError(
            f'{type(model).__name__} has no rpn_head, so it proposes nothing'
        )
    if features and not hasattr(model, 'roi_head'):
        raise UserError(
            f'{type(model).__name__} has no roi_head, which would pool features'
        )

    def of_one_size(places: list[int]) -> list[Proposed]:
        batch = pseudo_collate([prepared[i] for i in places])
        data = model.data_preprocessor(batch, False)
        samples = data['data_samples']
        with network.rounded():
            maps = model.extract_feat(data['inputs'])
            regions = head.predict(maps, samples, rescale=False)
            pooled = [
                _pool(model, maps, one.bboxes, image) if features else None
                for image, one in enumerate(regions)
            ]
        return [
            Proposed(
                _in_image_pixels(one.bboxes, sample).cpu().numpy(),
                one.scores.float().cpu().numpy(),
                None if pool is None else pool.float().cpu().numpy(),
                sample.ori_shape[1::-1],
                given[place].path,
            )
            for one, sample, pool, place in zip(
                regions, samples, pooled, places, strict=True
            )
        ]

    return network.by_size(prepared, of_one_size)


def _pool(model: Any, maps: Sequence[Tensor], boxes: Tensor, image: int) -> Tensor:
    """Pool regions (P, 4) of one image as the second stage does, a cascade's first."""
    extractor = model.roi_head.bbox_roi_extractor
    if isinstance(extractor, nn.ModuleList):
        extractor = extractor[0]
    rois = torch.cat([boxes.new_full((len(boxes), 1), image), boxes], 1)  # (P, 5)
    return extractor(maps[: extractor.num_inputs], rois)


def _in_image_pixels(boxes: Tensor, sample: Any) -> Tensor:
    """Return boxes (P, 4) in pixels of the image before the test pipeline."""
    return boxes.float() / boxes.new_tensor(sample.scale_factor).float().repeat(2)
