"""Sliced inference: a large image in tiles, what they show merged into one result.

As in Akyon et al., Slicing aided hyper inference, 2022: tiles overlap, and the whole
image is looked at too, for what is larger than they share.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from torch import Tensor

from mmfrcnn.data.class_names import innermost
from mmfrcnn.data.transforms.tiles import Tiles
from mmfrcnn.errors import UserError

BORDER = 2.0
"""Pixels from a tile's border within which a box is taken for cut off there."""
COVERED = 0.7
"""Share of a box that is cut off that another must cover to stand for it."""


@MODELS.register_module()
class TiledDetector(BaseTTAModel):
    """Runs a detector on the tiles that `CutTiles` made, and merges what it finds.

    - Of the whole image, boxes are kept that are larger than what tiles share.
    - A box that a tile's border cuts off is left to the neighbour that shows all of it,
      if it is no larger than what the two share, and to a box of its class that is not
      cut off and covers it.
    - What is left goes through the detector's own NMS, ``test_cfg.rcnn.nms``.

    Args:
        module (dict | nn.Module): The detector, with boxes and without masks.
        batch_size (int): Tiles at a time.

    Raises:
        UserError: If the detector finds masks.
    """

    def __init__(self, module: Any, batch_size: int = 8) -> None:
        super().__init__(module)
        self.batch_size = batch_size
        if getattr(self.module, 'with_mask', False):
            raise UserError('tiles: masks of several tiles are not merged, only boxes')

    def test_step(self, data: dict[str, Any]) -> list[DetDataSample]:
        """Detect the objects in a batch of tiled images, in original pixels."""
        images: list[Tiles] = data['inputs']
        items = [item for image in images for item in image.items]
        # Those of one size together: padding to another's would change the results.
        of_size: dict[Any, list[int]] = {}
        for index, item in enumerate(items):
            of_size.setdefault(item['inputs'].shape, []).append(index)
        found: dict[int, DetDataSample] = {}
        for same in of_size.values():
            for start in range(0, len(same), self.batch_size):
                batch = same[start : start + self.batch_size]
                done = self.module.test_step(pseudo_collate([items[i] for i in batch]))
                found.update(zip(batch, done, strict=True))
        samples, place = [], 0
        for image, sample in zip(images, data['data_samples'], strict=True):
            parts = [found[place + i] for i in range(len(image.items))]
            place += len(image.items)
            sample.pred_instances = self._merged(image, parts)
            samples.append(sample)
        return samples

    def merge_preds(self, data_samples_list: Any) -> Any:
        """Not called: tiles differ in number, where augmentations do not."""
        raise NotImplementedError

    def _merged(self, image: Tiles, found: list[DetDataSample]) -> InstanceData:
        whole, *tiles = [sample.pred_instances for sample in found]
        if not tiles:
            return whole
        places = torch.as_tensor(image.places, device=whole.bboxes.device)
        size = torch.stack([places[:, 2].max(), places[:, 3].max()])
        shared = _shared(places)
        parts = [whole[_sides(whole.bboxes).gt(shared).any(1)]]
        cut = [torch.zeros_like(parts[0].labels, dtype=torch.bool)]
        for tile, place in zip(tiles, places, strict=True):
            at_border = _at_border(tile.bboxes, place, size)
            small = _sides(tile.bboxes) <= shared
            kept = tile[~(at_border & small).any(1)]
            cut.append(_at_border(kept.bboxes, place, size).any(1))
            kept.bboxes = kept.bboxes + place[:2].repeat(2)
            parts.append(kept)
        return self._suppressed(InstanceData.cat(parts), torch.cat(cut), len(parts))

    def _suppressed(self, both: InstanceData, cut: Tensor, parts: int) -> InstanceData:
        """Suppress what others stand for; no more is left than the parts may give."""
        both = both[~_stood_for(both, cut)]
        if not len(both):
            return both
        config = self.module.test_cfg.rcnn
        _, chosen = batched_nms(both.bboxes, both.scores, both.labels, config.nms)
        return both[chosen[: config.max_per_img * parts]]


def _sides(boxes: Tensor) -> Tensor:
    return boxes[:, 2:] - boxes[:, :2]


def _shared(places: Tensor) -> Tensor:
    """Return the width and height that neighbouring tiles share at least, (2,)."""
    least = []
    for side in (0, 1):
        starts = places[:, side].unique()
        length = places[0, side + 2] - places[0, side]
        gaps = starts.diff()
        least.append(length - gaps.max() if len(gaps) else length)
    return torch.stack(least)


def _at_border(boxes: Tensor, place: Tensor, size: Tensor) -> Tensor:
    """Say along which side boxes reach a tile's border within the image, bool (D, 2).

    Args:
        boxes (Tensor): xyxy in pixels of the tile, (D, 4).
        place (Tensor): xyxy of the tile in the image, (4,).
        size (Tensor): Width and height of the image, (2,).
    """
    low = (boxes[:, :2] < BORDER) & (place[:2] > 0)
    high = (boxes[:, 2:] > place[2:] - place[:2] - BORDER) & (place[2:] < size)
    return low | high


def _stood_for(both: InstanceData, cut: Tensor) -> Tensor:
    """Say which boxes that are cut off one of their class covers that is not, (D,)."""
    whole, covered = both[~cut], torch.zeros_like(cut)
    for places in cut.nonzero()[:, 0].split(256):  # in bounded memory
        boxes = both.bboxes[places]
        low = torch.maximum(boxes[:, None, :2], whole.bboxes[None, :, :2])
        high = torch.minimum(boxes[:, None, 2:], whole.bboxes[None, :, 2:])
        share = (high - low).clamp(min=0).prod(2) / _sides(boxes).prod(1)[:, None]
        same = both.labels[places, None] == whole.labels[None]
        covered[places] = ((share >= COVERED) & same).any(1)
    return covered


def use_tiles(
    config: Config, size: tuple[int, int], overlap: float, recorded: bool = False
) -> None:
    """Have a config's test set cut into tiles, and its detector merge them.

    Args:
        config (Config): Changed in place.
        size (tuple[int, int]): Width and height of a tile, in pixels of the images.
        overlap (float): Share of a tile that it has in common with the next.
        recorded (bool): Whether the detector is to be recorded as CUDA graphs.

    Raises:
        UserError: If the size or overlap is none, images are not loaded first, or the
            detector is to be recorded.
    """
    if recorded:
        raise UserError(
            '--tiles and --cuda-graphs: tiles come in batches of many sizes, and each '
            'would be recorded; choose one'
        )
    if min(size) < 1 or not 0 <= overlap < 1:
        raise UserError(
            f'tiles of {size[0]}x{size[1]} pixels with an overlap of {overlap:g}: they '
            'must have a size, and share from 0 to less than 1'
        )
    dataset = innermost(config.test_dataloader.dataset)
    first, *rest = dataset.pipeline
    if 'LoadImage' not in str(first['type']):
        raise UserError(
            'tiles: test_dataloader.dataset.pipeline must begin with LoadImageFromFile'
            f', and begins with {first["type"]}'
        )
    cut = dict(type='CutTiles', size=size, overlap=overlap, transforms=deepcopy(rest))
    dataset.pipeline = [first, ConfigDict(cut)]
    config.model = ConfigDict(type='TiledDetector', module=config.model)
