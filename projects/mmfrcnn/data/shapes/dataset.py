"""The drawn-shapes data set, made on first use."""

from __future__ import annotations

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dist import is_main_process

from mmfrcnn.data.shapes.generate import is_complete, make_shapes
from mmfrcnn.data.shapes.outlines import CLASSES

PALETTE = (
    (230, 60, 60),
    (40, 120, 255),
    (30, 170, 80),
    (255, 160, 0),
    (160, 60, 220),
    (0, 190, 210),
)
"""One RGB colour a class, for pictures."""


@DATASETS.register_module()
class ShapesDataset(CocoDataset):
    """COCO-format data set of drawn shapes that makes itself where it is absent.

    ``data_root`` is the folder :func:`make_shapes` writes: with its default seed and
    size if the annotations aren't there yet. Ranks of a distributed run, and separate
    runs, take turns at a file lock, so exactly one of them makes the data.
    """

    METAINFO = {'classes': CLASSES, 'palette': list(PALETTE)}

    def load_data_list(self) -> list[dict]:
        """Make the data if need be, then load the annotations."""
        if not is_complete(self.data_root):
            if is_main_process():
                print(f'Making the shapes data in {self.data_root} (once) ...')
            make_shapes(self.data_root)
        return super().load_data_list()
