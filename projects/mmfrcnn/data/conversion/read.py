"""Reading the splits of a data set in any of the formats, and refusing what is bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mmfrcnn.data.formats.pictures import LARGEST_SIDE, Split
from mmfrcnn.data.formats.registry import LAYOUTS
from mmfrcnn.data.images import SUFFIXES
from mmfrcnn.errors import UserError, did_you_mean


def read_splits(
    source: Path, kind: str, names: Sequence[str] | None, image_dir: Path | None = None
) -> list[Split]:
    """Read and check the splits of a data set.

    Args:
        source (Path): COCO: the folder with ``annotations/instances_*.json``, or one
            JSON file. VOC: that with ``ImageSets/Main``. YOLO: that with ``images``,
            or with ``train/images`` and so on.
        kind (str): ``coco``, ``voc`` or ``yolo``.
        names (Sequence[str] | None): The splits to read; None: all that are there.
        image_dir (Path | None): COCO alone: the folder of images, by default the one
            named as the split or, for one JSON file, that of the file.

    Returns:
        list[Split]: At least one; all have the same classes.

    Raises:
        UserError: If anything is missing or broken, by file, line, id or key.
    """
    if not source.exists():
        raise UserError(f'{source}: no such file or folder')
    layout = LAYOUTS[kind]
    there = layout.splits(source)
    wanted = list(dict.fromkeys(names or there))
    for name in wanted:
        if name not in there:
            near = did_you_mean(name, there)
            found = ', '.join(there) or 'none'
            raise UserError(f'{source}: no split {name!r}.{near} There are: {found}')
    if not wanted:
        raise UserError(f'{source}: {layout.absent}')
    splits = [layout.read(source, name, image_dir) for name in wanted]
    if not layout.lists_classes:
        classes = sorted({name for split in splits for name in split.classes})
        same = all(split.classes == splits[0].classes for split in splits)
        splits = splits if same else [replace(s, classes=classes) for s in splits]
    # A category that only groups others in each split is no class.
    groups = set.intersection(*(set(split.groups) for split in splits))
    for split in splits:
        split.classes = [name for name in split.classes if name not in groups]
        if split.classes != splits[0].classes:
            raise UserError(
                f'{source}: {split.name} and {splits[0].name} have different classes: '
                f'{", ".join(split.classes[:9])}; {", ".join(splits[0].classes[:9])}'
            )
        _check_classes(split.classes, source)
        _check_pictures(split, source)
    return splits


# -- Refusing


def _check_classes(classes: Sequence[str], source: Path) -> None:
    """Refuse names that a list of one a line, or XML, cannot hold."""
    for index, name in enumerate(classes):
        if not name or name != name.strip() or not name.isprintable():
            raise UserError(
                f'{source}: class {index} is named {name!r}: a name must have '
                'printable characters on one line, and no space before or after'
            )
        if name in classes[:index]:
            raise UserError(f'{source}: two classes are named {name!r}')


def _check_pictures(split: Split, source: Path) -> None:
    where = f'{source}, {split.name}'
    known = set(split.classes)
    seen: set[str] = set()
    for picture in split.pictures:
        title = picture.title
        path = PurePosixPath(title)
        if path.is_absolute() or '..' in path.parts or not title.isprintable():
            raise UserError(f'{where}: {title!r} is no file name within a folder')
        if title != title.strip() or path.suffix.lower() not in SUFFIXES:
            raise UserError(
                f'{where}: {title!r} is no name of an image ({", ".join(SUFFIXES)})'
            )
        if title in seen:
            raise UserError(f'{where}: the image {title} is there twice')
        seen.add(title)
        if picture.width < 1 or picture.height < 1:
            size = f'{picture.width}x{picture.height}'
            raise UserError(f'{where}: {title}: its size is {size} pixels')
        for found in picture.objects:
            if not all(abs(side) < LARGEST_SIDE for side in found.box):
                raise UserError(
                    f'{where}: {found.title}: a side is not a number of pixels'
                )
            if found.class_name not in known:
                raise UserError(
                    f'{where}: {found.title}: {found.class_name!r} is not a class of '
                    f'this data set ({", ".join(split.classes[:9])})'
                )
