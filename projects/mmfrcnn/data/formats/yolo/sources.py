"""Which images a split of YOLO's format has, and where their labels are.

::

    path: pets                     optional: the folder that the rest is below
    train: images/train            a folder of images, in folders of any depth
    val: [images/a, images/b]      several
    test: test.txt                 a list of images, one path a line

A list's paths are relative to its own folder, with or without ``./``, or to that of
``data.yaml``; Darknet's, which begin with ``data/``, to the folder above. Labels are in
the same folder with ``labels`` for the last ``images`` of its path or, where that has
none, beside the images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmfrcnn.data.formats.documents import read_yaml
from mmfrcnn.data.formats.names import read_names
from mmfrcnn.data.images import SUFFIXES, find_images
from mmfrcnn.errors import UserError, first_of

NAMES_FILES = ('data.yaml', 'data.yml', 'classes.txt')
SPLITS = ('train', 'val', 'test')
NO_SPLITS = ('path', 'names', 'nc', 'download')
"""Keys of ``data.yaml`` that name no images; any other may be a split."""


@dataclass(frozen=True)
class Labelled:
    """An image, its label file, which need not be there, and its name in the split."""

    title: str
    image: Path
    label: Path


def labels_folder(images: Path) -> Path:
    """Return the folder of labels that belongs to a folder of images.

    Example:
        >>> labels_folder(Path('pets/images/train')).as_posix()
        'pets/labels/train'
    """
    parts = list(images.parts)
    if 'images' not in parts:
        raise UserError(
            f'{images}: no folder "images" in this path, so its labels are not known. '
            'Set data_prefix=dict(img=..., labels=...)'
        )
    parts[len(parts) - 1 - parts[::-1].index('images')] = 'labels'
    return Path(*parts)


def _labels_or_beside(images: Path) -> Path:
    return labels_folder(images) if 'images' in images.parts else images


# -- What data.yaml names


def named_sources(file: Path) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """Return what ``data.yaml`` names for each split.

    Args:
        file (Path): The file. Its paths are also found where they stood when it was
            written (Roboflow's says ``../train/images`` of the folder beside it).

    Returns:
        tuple[dict[str, list[Path]], dict[str, str]]: The folders and lists by split,
        and of splits of which nothing is there what is written.

    Raises:
        UserError: If the file is broken, or a part of what a split names is not there.
    """
    content = read_yaml(file)
    content = content if isinstance(content, dict) else {}
    found: dict[str, list[Path]] = {}
    absent: dict[str, str] = {}
    for split in [key for key in content if key not in NO_SPLITS]:
        written = content[split]
        written = written if isinstance(written, list) else [written]
        written = [one for one in written if isinstance(one, str) and one.strip()]
        there = [_source(file.parent, content.get('path'), one) for one in written]
        sources = [source for source in there if source]
        if sources and len(sources) < len(written):
            gone = [
                one for one, source in zip(written, there, strict=True) if not source
            ]
            raise UserError(
                f'{file}: {split}: no such folder or list: {first_of(gone)}'
            )
        if sources:
            found[str(split)] = sources
        elif written and split in SPLITS:
            absent[split] = ', '.join(written)
    return found, absent


def _source(root: Path, path: object, written: str) -> Path | None:
    """Return the folder or list that a YAML file in ``root`` means."""
    written = written.replace('\\', '/')
    below = Path(*(part for part in Path(written).parts if part not in ('..', '.')))
    places = root / below, root / str(path or '') / written, root / written
    for place in places:
        # Of os.path: names of files can be written that no file can have.
        if os.path.isdir(place) and place != root:
            return place
        if os.path.isfile(place) and place.suffix == '.txt':
            return place
    return None


def split_sources(root: Path) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """Return the folders and lists of images of a folder, by split.

    They are those that ``data.yaml`` names, and the folders in ``images`` that it does
    not; without any, ``train/images`` and the like.

    Returns:
        tuple[dict[str, list[Path]], dict[str, str]]: As `named_sources` does.

    Raises:
        UserError: See `named_sources`.
    """
    found: dict[str, list[Path]] = {}
    absent: dict[str, str] = {}
    for file in (root / name for name in NAMES_FILES[:2] if (root / name).is_file()):
        more, gone = named_sources(file)
        found, absent = more | found, gone | absent
    covered = [source for sources in found.values() for source in sources]
    inside = sorted((root / 'images').iterdir()) if (root / 'images').is_dir() else []
    if any(path.suffix.lower() in SUFFIXES for path in inside):
        return found or {'train': [root / 'images']}, absent
    if not any(source.is_file() for source in covered):
        for folder in inside:
            known = any(one in (folder, *folder.parents) for one in covered)
            if folder.is_dir() and not known:
                found.setdefault(folder.name, [folder])
    if not found and not inside:
        folders = [
            folder for folder in sorted(root.glob('*/images')) if folder.is_dir()
        ]
        found = {folder.parent.name: [folder] for folder in folders}
    return found, {split: text for split, text in absent.items() if split not in found}


def yolo_splits(root: Path) -> list[str]:
    """List the splits of a folder."""
    return list(split_sources(root)[0])


# -- The images of folders and lists


def labelled_images(
    sources: Sequence[Path],
    labels: Path | None = None,
    root: Path | None = None,
    notes: list[str] | None = None,
) -> list[Labelled]:
    """List the images of folders and lists, with their label files.

    Args:
        sources (Sequence[Path]): Folders of images, and lists of them (``.txt``).
        labels (Path | None): The folder of labels of the one folder that is given.
        root (Path | None): A folder that a list's paths may be relative to.
        notes (list[str] | None): Gets a line about images that are there twice.

    Returns:
        list[Labelled]: Each image once, titled by its path below the one folder given
        or, of several, below the folder that they share.

    Raises:
        UserError: If a source or an image is missing, a list is empty or no text, a
            label file has no image, or one would belong to two images.
    """
    found: dict[Path, Path] = {}
    twice = []
    one_folder = len(sources) == 1 and sources[0].suffix != '.txt'
    if not one_folder:  # a list may mix paths of all kinds
        sources = [Path(os.path.abspath(source)) for source in sources]
    for source in sources:
        pairs = (
            _of_list(source, root or source.parent)
            if source.suffix == '.txt'
            else _of_folder(source, labels or _labels_or_beside(source))
        )
        for image, label in pairs:
            if image in found:
                twice.append(str(image))
            found.setdefault(image, label)
    if twice and notes is not None:
        notes.append(
            f'{len(twice)} images are listed again, and taken once: {first_of(twice)}'
        )
    owners: dict[Path, Path] = {}
    for image, label in found.items():
        if owners.setdefault(label, image) != image:
            raise UserError(f'{label} would belong to {owners[label]} and to {image}')
    top = (
        sources[0]
        if one_folder
        else Path(os.path.commonpath([p.parent for p in found]))
    )
    return [
        Labelled(image.relative_to(top).as_posix(), image, label)
        for image, label in found.items()
    ]


def _of_folder(images: Path, labels: Path) -> Iterator[tuple[Path, Path]]:
    paths = find_images(images)
    files = [(labels / path.relative_to(images)).with_suffix('.txt') for path in paths]
    known = set(files)
    for orphan in sorted(labels.rglob('*.txt')):
        if orphan not in known and _holds_labels(orphan):
            raise UserError(f'{orphan}: there is no image of this name in {images}')
    yield from zip(paths, files, strict=True)


def _holds_labels(path: Path) -> bool:
    """Whether a text file holds labels, and not class names or notes."""
    if path.name in NAMES_FILES:
        return False
    lines = path.read_text(encoding='utf-8-sig', errors='replace').splitlines()
    fields = [line.split() for line in lines if line.strip()]
    return not fields or any(f[0].isdecimal() and len(f) >= 5 for f in fields)


def _of_list(file: Path, root: Path) -> Iterator[tuple[Path, Path]]:
    names = read_names(file)
    places = [_place(name.replace('\\', '/'), file.parent, root) for name in names]
    missing = [name for name, place in zip(names, places, strict=True) if not place]
    if missing:
        raise UserError(
            f'{file}: {len(missing)} of {len(names)} images in it are missing: '
            f"{first_of(missing)}. Its paths are relative to the list's own folder, "
            f'or to {root}'
        )
    for image in filter(None, places):
        beside = image.with_suffix('.txt')
        label = _labels_or_beside(image.parent) / beside.name
        yield image, beside if beside.is_file() and not label.is_file() else label


def _place(name: str, folder: Path, root: Path) -> Path | None:
    """Return the image that a line of a list means, or None if it is not there."""
    places = folder / name, root / name, folder / name.removeprefix('data/')
    found = next((place for place in places if os.path.isfile(place)), None)
    return Path(os.path.abspath(found)) if found else None
