"""A part of a COCO file, or all of it, as a data set that needs no file beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmdet.registry import DATASETS

from mmfrcnn.data.formats.coco.read import read_coco
from mmfrcnn.data.formats.pictures import Picture, PictureDataset


@DATASETS.register_module()
class CocoJsonDataset(PictureDataset):
    """Images of a COCO file, ``ann_file``, of which ``subset`` may be a part.

    mmdet's `CocoDataset` takes a file whole, and so does `CocoMetric` with an
    ``ann_file``. Here the ground truth goes with each image, and `CocoMetric` without
    one evaluates against that; its size ranges then go by the areas of the boxes, not
    by those that the file has.

    Args:
        kwargs: `PictureDataset`'s arguments; ``data_prefix=dict(img=...)`` is the
            folder that the file names are relative to.
    """

    lists_classes = True

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the file; categories that only group others are no classes."""
        self.notes = []
        images = Path(self.data_prefix.get('img') or self.data_root)
        names, pictures, groups = read_coco(self.ann_file, self.notes)
        classes = [name for name in names if name not in groups]
        return classes, [replace(p, image=images / p.title) for p in pictures]
