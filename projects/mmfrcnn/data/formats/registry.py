"""All annotation formats, a row each: what the checks and conversion ask of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mmdet.datasets import CocoDataset, XMLDataset

from mmfrcnn.data.formats.coco.dataset import CocoJsonDataset
from mmfrcnn.data.formats.coco.read import coco_splits, read_coco, read_coco_split
from mmfrcnn.data.formats.coco.write import write_coco
from mmfrcnn.data.formats.csv_table import CsvDataset
from mmfrcnn.data.formats.label_studio import LabelStudioDataset
from mmfrcnn.data.formats.labelme import LabelMeDataset
from mmfrcnn.data.formats.pictures import Picture, PictureDataset, Split
from mmfrcnn.data.formats.voc import (
    read_voc_folder,
    read_voc_split,
    voc_splits,
    write_voc,
)
from mmfrcnn.data.formats.writing import Images
from mmfrcnn.data.formats.yolo.dataset import YoloDataset
from mmfrcnn.data.formats.yolo.read import read_yolo_split
from mmfrcnn.data.formats.yolo.sources import yolo_splits
from mmfrcnn.data.formats.yolo.write import write_yolo

Surveyed: TypeAlias = CocoDataset | XMLDataset | PictureDataset
"""The data sets that the checks know, of mmdet and of this package."""
Annotations: TypeAlias = tuple[list[str], list[Picture]]
"""The names that annotations know, and their images."""


COCO_CORNERS = (
    'Does bbox hold corners (x1, y1, x2, y2)? COCO wants (x, y, width, height)'
)


@dataclass(frozen=True)
class Layout:
    """How the splits of a whole data set lie in a folder.

    Attributes:
        splits: Lists the splits that a folder has.
        absent: What is said of a folder that has none.
        read: Reads one, by the folder, its name and the folder of its images.
        write: Writes one into a folder, and has its images placed.
        file_of_image: The annotation file of one image, by split and stem; None: one
            file holds all.
        ignored: The mark of objects that are neither object nor background; None:
            there is none.
        lists_classes: Whether a split's classes are all, and not those that occur.
        needs_images: Whether the images must be there for it to be read.
    """

    splits: Callable[[Path], list[str]]
    absent: str
    read: Callable[[Path, str, Path | None], Split]
    write: Callable[[Split, Path, Images], None]
    file_of_image: str | None
    ignored: str | None
    lists_classes: bool = True
    needs_images: bool = True


@dataclass(frozen=True)
class Format:
    """One annotation format.

    Attributes:
        name: How the command line calls it.
        dataset: Data sets of this class, and of those made from it, are in it.
        read_mmdets: Reads the annotations of a data set of mmdet's own class anew,
            and notes what was completed; ours do so by `PictureDataset.read`.
        beyond: Asked where many boxes reach beyond their image.
        min_side: Boxes narrower or lower than this many pixels are passed over.
        layout: Of a whole data set in it, if conversion reads and writes it.
    """

    name: str
    dataset: type
    read_mmdets: Callable[[Any, list[str]], Annotations] | None = None
    beyond: str = 'Are they corners (xmin, ymin, xmax, ymax) in pixels of these images?'
    min_side: float = 0.0
    layout: Layout | None = None


def _read_coco_dataset(dataset: CocoDataset, notes: list[str]) -> Annotations:
    categories, pictures, _ = read_coco(dataset.ann_file, notes)
    return categories, pictures


def _read_voc_dataset(dataset: XMLDataset, notes: list[str]) -> Annotations:
    root = Path(dataset.sub_data_root)
    return read_voc_folder(root, dataset.ann_file, dataset.ann_subdir)


FORMATS = (
    Format(
        'coco',
        CocoDataset,
        read_mmdets=_read_coco_dataset,
        beyond=COCO_CORNERS,
        min_side=1.0,  # as in mmdet
        layout=Layout(
            splits=coco_splits,
            absent='no annotations/instances_*.json in it. Name the JSON file itself',
            read=read_coco_split,
            write=write_coco,
            file_of_image=None,
            ignored='iscrowd',
            needs_images=False,
        ),
    ),
    Format(
        'voc',
        XMLDataset,
        read_mmdets=_read_voc_dataset,
        layout=Layout(
            splits=voc_splits,
            absent='no ImageSets/Main/*.txt in it',
            read=read_voc_split,
            write=write_voc,
            file_of_image='Annotations/{stem}.xml',
            ignored='difficult',
            lists_classes=False,
        ),
    ),
    Format(
        'yolo',
        YoloDataset,
        beyond='Are they in pixels? YOLO wants parts of the width and height, 0 to 1',
        layout=Layout(
            splits=yolo_splits,
            absent='no folder images in it, nor train/images or what data.yaml names',
            read=read_yolo_split,
            write=write_yolo,
            file_of_image='labels/{split}/{stem}.txt',
            ignored=None,
        ),
    ),
    Format('csv', CsvDataset),
    Format('coco', CocoJsonDataset, beyond=COCO_CORNERS),
    Format('labelme', LabelMeDataset),
    Format('label studio', LabelStudioDataset),
)
OWN = Format('own', PictureDataset)
"""What a data set class of the user's own is in."""
LAYOUTS = {one.name: one.layout for one in FORMATS if one.layout}
"""Those that conversion reads and writes."""


def format_of(dataset: Surveyed) -> Format:
    """Return the format that a data set is in."""
    known = (one for one in FORMATS if isinstance(dataset, one.dataset))
    return next(known, OWN)


def read_anew(dataset: Surveyed, notes: list[str]) -> Annotations:
    """Read the annotations of a data set that is loaded.

    Args:
        dataset (Surveyed): The data set.
        notes (list[str]): Gets a line for each thing that is worth one in a report.

    Raises:
        UserError: If an annotation file is missing or broken.
    """
    if not isinstance(dataset, PictureDataset):
        return format_of(dataset).read_mmdets(dataset, notes)
    found = dataset.read_chosen()
    notes += dataset.notes
    return found
