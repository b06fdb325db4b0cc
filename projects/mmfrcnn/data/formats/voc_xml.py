"""Pascal VOC XML with classes of one's own, without silent losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmdet.datasets import XMLDataset
from mmdet.registry import DATASETS

from mmfrcnn.data.formats.annotations import Picture, read_names, read_voc
from mmfrcnn.data.formats.pictures import PictureDataset
from mmfrcnn.data.formats.yolo import read_class_names
from mmfrcnn.data.images import with_suffix


@DATASETS.register_module()
class VocXmlDataset(PictureDataset, XMLDataset):
    """Images and Pascal VOC XML files, listed by name in ``ann_file``.

    As mmdet's `XMLDataset`, and: boxes that cannot be used are left out by name (see
    `PictureDataset`), objects marked ``difficult`` are regions to ignore, coordinates
    keep their fractions, images may be of any common type, and a broken file is named.
    Without ``metainfo`` the classes are those of ``classes.txt`` in the folder or,
    where there is none, those that occur, in alphabetical order.
    """

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the list of names and the XML file of each."""
        return read_voc_folder(
            Path(self.sub_data_root), self.ann_file, self.ann_subdir, self.img_subdir
        )


def read_voc_folder(
    root: Path,
    names_file: str | Path,
    annotations: str = 'Annotations',
    images: str = 'JPEGImages',
) -> tuple[list[str], list[Picture]]:
    """Read the XML files that a list names.

    Returns:
        tuple[list[str], list[Picture]]: The classes, those of ``classes.txt`` or, where
        there is none, those that occur, sorted; and the images.

    Raises:
        UserError: If a file is missing or broken.
    """
    pictures = [
        replace(
            read_voc(root / annotations / f'{name}.xml'),
            title=name,
            image=with_suffix(root / images, name),
        )
        for name in read_names(names_file)
    ]
    if (root / 'classes.txt').is_file():
        return read_class_names(root / 'classes.txt'), pictures
    found = {thing.class_name for picture in pictures for thing in picture.objects}
    return sorted(found), pictures
