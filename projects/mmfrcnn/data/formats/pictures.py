"""What all formats are read into, and the data set over it, without silent losses.

Boxes are xyxy in image pixels, floats.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmdet.datasets import BaseDetDataset

from mmfrcnn.data.formats.names import read_names
from mmfrcnn.errors import UserError, first_of

NOT_A_NUMBER = 'not a number'
NO_AREA = 'no area (zero or negative width or height)'
OUTSIDE = 'outside the image'
TINY = 'narrower than one pixel'
UNKNOWN_CLASS = 'of a class that the config does not name'
OUTLINE = 'outline (its bounding box was taken)'
"""Said of an object that a polygon or the like stands for."""
LARGEST_SIDE = 1 << 31
"""Pixels: more than any kind of image file can have."""
NO_SIDE = (
    'and not the number of its pixels. Some tools write 0 or -1 for images that they '
    'did not open: write the true sizes'
)

Box = tuple[float, float, float, float]


@dataclass
class Object:
    """One annotated object: its class, its box and how a message calls it."""

    class_name: str
    box: Box
    title: str
    ignored: bool = False  # crowd or difficult: neither object nor background
    left_out: str | None = None  # a reason of the file's own
    extras: tuple[str, ...] = ()  # what else the file says of it


@dataclass
class Picture:
    """One image of an annotation file, as the file describes it."""

    title: str
    width: int
    height: int
    objects: list[Object] = field(default_factory=list)
    image: Path | None = None  # its file, where the reader knows the folder


@dataclass
class Split:
    """One split: its name, its classes in order, and its images.

    The title of a picture is its image file's path in the data set, with its suffix.
    """

    name: str
    classes: list[str]
    pictures: list[Picture]
    notes: list[str] = field(default_factory=list)  # what reading completed
    groups: list[str] = field(default_factory=list)  # classes that only group others


def why_left_out(
    found: Object, picture: Picture, classes: Sequence[str], min_side: float = 0.0
) -> str | None:
    """Return why a box cannot be trained on or evaluated, or None if it can.

    Args:
        found (Object): The object.
        picture (Picture): The image it is in.
        classes (Sequence[str]): The classes of the config.
        min_side (float): Boxes narrower or lower than this many pixels are left out.
    """
    x1, y1, x2, y2 = found.box
    if not all(math.isfinite(side) for side in found.box):
        return NOT_A_NUMBER
    if x2 <= x1 or y2 <= y1:
        return NO_AREA
    if x2 <= 0 or y2 <= 0 or x1 >= picture.width or y1 >= picture.height:
        return OUTSIDE
    if min(x2 - x1, y2 - y1) < min_side:
        return TINY
    if found.class_name not in classes:
        return UNKNOWN_CLASS
    return found.left_out


def bounds(points: Iterable[tuple[float, float]]) -> Box:
    """Return the bounding box of points, no numbers if a point is none.

    Example:
        >>> bounds([(3, 1), (2, 5)])
        (2.0, 1.0, 3.0, 5.0)
        >>> bounds([(3, 1), (float('nan'), 2), (2, 5)])
        (nan, nan, nan, nan)
    """
    xs, ys = zip(*((float(x), float(y)) for x, y in points), strict=True)
    if not all(map(math.isfinite, (*xs, *ys))):  # which min and max pass over
        return (math.nan,) * 4
    return min(xs), min(ys), max(xs), max(ys)


class PictureDataset(BaseDetDataset):
    """A data set whose annotations are read into `Picture` objects by `read`.

    Boxes that cannot be used (no area, outside the image, an unknown class) are left
    out and kept by name in ``left_out``, in training and evaluation alike. Without
    ``metainfo=dict(classes=...)`` the classes are those of the annotations.

    Args:
        subset (str | None): A list of the images that this data set has, one title a
            line (the file's path in the data set), relative to ``data_root``; None: all
            that are annotated. The classes stay those of all.
        kwargs: `BaseDetDataset`'s arguments. In ``filter_cfg``, ``filter_empty_gt``
            drops images without objects from training, which are kept otherwise, and
            ``min_size`` those with a shorter side.

    Attributes:
        left_out (list[tuple[Object, str]]): The boxes left out, and why.
        notes (list[str]): What `read` found that is worth a line in the report.
        lists_classes (bool): Whether the annotations list all classes, and not only
            those that occur.
    """

    lists_classes = False

    def __init__(self, *, subset: str | None = None, **kwargs) -> None:
        self.subset = subset
        self.left_out: list[tuple[Object, str]] = []
        self.notes: list[str] = []
        super().__init__(**kwargs)

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the annotations anew: the names of the classes, and the images.

        Raises:
            UserError: If a file is missing or broken, by name.
        """
        raise NotImplementedError

    def read_chosen(self) -> tuple[list[str], list[Picture]]:
        """Read the annotations anew, of the images in ``subset`` if there is one.

        Raises:
            UserError: If a file is missing or broken, or the list names other images.
        """
        names, pictures = self.read()
        if self.subset is None:
            return names, pictures
        # Up from a link, ".." is the folder that the link is in.
        file = Path(os.path.normpath(os.path.join(self.data_root or '', self.subset)))
        wanted = set(read_names(file))
        strange = sorted(wanted - {picture.title for picture in pictures})
        if strange:
            raise UserError(
                f'{file}: {len(strange)} of {len(wanted)} images in it are not '
                f'annotated: {first_of(strange)}'
            )
        return names, [picture for picture in pictures if picture.title in wanted]

    def load_data_list(self) -> list[dict]:
        """Read the annotations as mmdet wants them, boxes xyxy in pixels."""
        names, pictures = self.read_chosen()
        if not self._metainfo.get('classes'):
            self._metainfo['classes'] = tuple(names)
        labels = {name: i for i, name in enumerate(self._metainfo['classes'])}
        return [self._info(picture, labels) for picture in pictures]

    def filter_data(self) -> list[dict]:
        """Drop the images that ``filter_cfg`` asks to drop, in training."""
        wanted = self.filter_cfg or {}
        if self.test_mode:
            return self.data_list
        return [
            info
            for info in self.data_list
            if (info['instances'] or not wanted.get('filter_empty_gt'))
            and min(info['width'], info['height']) >= wanted.get('min_size', 0)
        ]

    def _info(self, picture: Picture, labels: dict[str, int]) -> dict:
        instances = []
        for found in picture.objects:
            reason = why_left_out(found, picture, list(labels))
            if reason:
                self.left_out.append((found, reason))
                continue
            instances.append(
                {
                    'bbox': list(found.box),
                    'bbox_label': labels[found.class_name],
                    'ignore_flag': int(found.ignored),
                }
            )
        return {
            'img_id': picture.title,
            'img_path': str(picture.image),
            'width': picture.width,
            'height': picture.height,
            'instances': instances,
        }
