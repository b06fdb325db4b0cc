"""The data set over a folder, a list or a split in YOLO's format."""

from __future__ import annotations

from pathlib import Path

from mmdet.registry import DATASETS

from mmfrcnn.data.formats.pictures import Picture, PictureDataset
from mmfrcnn.data.formats.yolo.read import find_names, read_yolo
from mmfrcnn.data.formats.yolo.sources import (
    labelled_images,
    labels_folder,
    named_sources,
)
from mmfrcnn.errors import UserError, did_you_mean


@DATASETS.register_module()
class YoloDataset(PictureDataset):
    """Images and label files in YOLO's format.

    Args:
        split (str | None): The split of ``data.yaml`` that this is, in place of
            ``data_prefix``: ``train=...`` there may be a folder of images, a list of
            images or several of these, see `yolo_sources`.
        kwargs: `PictureDataset`'s arguments. ``data_prefix=dict(img=...)`` is the
            folder of images (``images/train``) or a list of them (``train.txt``),
            ``labels`` in it the folder of the labels, by default the same path with
            ``labels`` for the last ``images``; ``ann_file`` is the file of class
            names, by default ``data.yaml`` or ``classes.txt`` in ``data_root`` or with
            the labels.
    """

    lists_classes = True

    def __init__(self, *, split: str | None = None, **kwargs) -> None:
        if split is not None and kwargs.pop('data_prefix', None):
            raise UserError(
                f'YoloDataset: split={split!r} and data_prefix both say which images '
                'these are: leave one out (data_prefix=None where a base config has it)'
            )
        self.split = split
        super().__init__(**kwargs)

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the class names, and the label file of every image."""
        self.notes = []
        root = Path(self.data_root or '.')
        if self.split is not None:
            names = Path(self.ann_file) if self.ann_file else find_names(root, root)
            sources = _sources_of(names, self.split)
            return read_yolo(labelled_images(sources, None, root, self.notes), names)
        images = Path(self.data_prefix.get('img') or self.data_root)
        labels = self.data_prefix.get('labels')
        is_list = images.suffix == '.txt'
        if is_list and labels:
            raise UserError(
                f'{images}: a list of images says where their labels are: in "labels" '
                'for "images", or beside. Leave labels out of data_prefix'
            )
        folder = None if is_list else Path(labels or labels_folder(images))
        found = labelled_images([images], folder, root, self.notes)
        names = Path(self.ann_file) if self.ann_file else None
        names = names or find_names(root, folder or found[0].label.parent)
        return read_yolo(found, names)


def _sources_of(file: Path, split: str) -> list[Path]:
    if not file.is_file():
        raise UserError(f'{file}: no such file of splits and class names')
    found, absent = named_sources(file) if file.suffix != '.txt' else ({}, {})
    if split in absent:
        raise UserError(f'{file}: {split}: {absent[split]}: no such folder or list')
    if split not in found:
        near = did_you_mean(split, found)
        there = ', '.join(found) or 'none'
        raise UserError(f'{file}: it names no split {split!r}.{near} It has {there}')
    return found[split]
