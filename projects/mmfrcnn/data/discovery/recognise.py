"""Which annotation format a folder is in, and what its splits hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS

from mmfrcnn.data.discovery.json_kinds import json_kind
from mmfrcnn.data.discovery.layouts import FORMATS, Splits
from mmfrcnn.data.discovery.listing import Listing, list_folder
from mmfrcnn.data.formats.pictures import Picture, PictureDataset
from mmfrcnn.errors import UserError, first_of

NOT_READ = {
    'via': 'VGG Image Annotator',
    'createml': 'CreateML',
}
"""JSON of tools whose files are not read."""


@dataclass
class Found:
    """A folder whose format is known.

    Attributes:
        root: The folder.
        title: What a reader calls the format.
        splits: The configs of its data sets, without ``data_root``, by split.
        classes: The names of its classes, in the order of their labels.
        lists_classes: Whether the annotations list them; else they are what occurs.
        pictures: The images of each split.
        unused: The images below the folder that are in no split.
    """

    root: Path
    title: str
    splits: Splits
    classes: list[str] = field(default_factory=list)
    lists_classes: bool = True
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def recognise(root: Path, kind: str | None = None) -> Found:
    """Find out in which format a folder is, and read its annotations.

    Args:
        root (Path): The folder.
        kind (str | None): The format, a key of `FORMATS`, where the folder holds
            several; None: the one there is.

    Raises:
        UserError: If the folder holds no annotations, those of several formats, or
            broken ones.
    """
    listing = list_folder(root)
    there = {name: find(listing) for name, (_, find) in FORMATS.items()
             if kind in (None, name)}  # fmt: skip
    there = {name: splits for name, splits in there.items() if splits}
    if not there:
        raise UserError(_nothing(listing, kind))
    if len(there) > 1:
        named = ' and '.join(f'{FORMATS[name][0]} ({name})' for name in there)
        raise UserError(
            f'{root} holds annotations as {named}. Say which are meant: '
            f'--format {" or ".join(there)}'
        )
    ((name, splits),) = there.items()
    return _read(Found(root, FORMATS[name][0], splits), listing)


def _read(found: Found, listing: Listing) -> Found:
    used: set[Path] = set()
    names: dict[str, list[str]] = {}
    for split, config in found.splits.items():
        dataset = data_set(config, found.root)
        names[split], found.pictures[split] = dataset.read()
        found.lists_classes = dataset.lists_classes
        used.update(p.image for p in found.pictures[split] if p.image)
    found.classes = _classes(found, names)
    resolved = {path.resolve() for path in used}
    found.unused = [
        listing.inside(image)
        for image in listing.images()
        if image not in used and image.resolve() not in resolved
    ]
    return found


def data_set(config: dict[str, Any], root: Path) -> PictureDataset:
    """Return a data set of a config without ``data_root``, not loaded."""
    more = {'data_root': str(root), 'pipeline': [], 'lazy_init': True}
    return DATASETS.build({**config, **more})


def _classes(found: Found, names: dict[str, list[str]]) -> list[str]:
    """Return the classes of all splits: those listed, or all that occur.

    Raises:
        UserError: If the splits list different classes.
    """
    if not found.lists_classes:
        return sorted({name for listed in names.values() for name in listed})
    (first, listed), *rest = names.items()
    for split, others in rest:
        if set(others) != set(listed):  # another order does no harm: labels go by name
            raise UserError(
                f'{found.root}: {first} and {split} list different classes: '
                f'{first_of(listed)} against {first_of(others)}. Give all splits one '
                'list of categories, also of those that no object of theirs is of'
            )
    return listed


def _nothing(listing: Listing, kind: str | None) -> str:
    """Say what a folder lacks."""
    root, images = listing.root, listing.images()
    if kind is not None:
        return f'{root}: no annotations as {FORMATS[kind][0]} are in it'
    kinds = {json_kind(file) for file in listing.of('.json')}
    unread = [f'{NOT_READ[one]} JSON' for one in NOT_READ if one in kinds]
    if _has_cvat_xml(listing.of('.xml')):
        unread.append("CVAT's own XML")
    known = ', '.join(title for title, _ in FORMATS.values())
    if unread:
        return f'{root}: {" and ".join(unread)} is not read. Export as one of: {known}'
    if images:
        return (
            f'{root}: {len(images)} images and no annotations. Label them with a tool '
            f'that writes one of: {known}. Annotations that are elsewhere: put them '
            'and the images below one folder'
        )
    return f'{root}: no images in it, and no annotations'


def _has_cvat_xml(files: Sequence[Path]) -> bool:
    for file in files[:5]:
        with open(file, 'rb') as content:
            if b'<annotations' in content.read(2048):
                return True
    return False
