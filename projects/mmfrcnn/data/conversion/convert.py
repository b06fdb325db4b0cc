"""Converting a data set: read all, check all, write beside, rename at the end."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from mmfrcnn.data.checks.intact import MISSING, RESIZED, describe_faults, find_fault
from mmfrcnn.data.conversion.read import read_splits
from mmfrcnn.data.formats.pictures import (
    NO_AREA,
    OUTSIDE,
    Picture,
    Split,
    why_left_out,
)
from mmfrcnn.data.formats.registry import LAYOUTS, Layout
from mmfrcnn.data.formats.writing import stem
from mmfrcnn.errors import UserError, first_of

REMEDIES = {
    MISSING: "For COCO's, name their folder with --image-dir, or write none with "
    '--images none',
    RESIZED: 'Annotate the images as they are now; for those of COCO, does --image-dir '
    'name the folder of those that were annotated?',
}


def convert(
    source: str | Path,
    target: str | Path,
    *,
    source_format: str,
    target_format: str,
    splits: Sequence[str] | None = None,
    image_dir: str | Path | None = None,
    images: str = 'copy',
    dry_run: bool = False,
) -> str:
    """Convert a data set between COCO, Pascal VOC and YOLO.

    Everything is read and checked first, then written into a folder beside the target,
    which gets the target's name when it is complete.

    Args:
        source (str | Path): What `read_splits` reads.
        target (str | Path): Folder to make; it must not exist, or be empty.
        source_format (str): ``coco``, ``voc`` or ``yolo``.
        target_format (str): Another of them.
        splits (Sequence[str] | None): The splits to convert; all by default.
        image_dir (str | Path | None): Folder of a COCO file's images.
        images (str): ``copy``, ``link`` (symbolic links) or ``none``.
        dry_run (bool): Read, check and report, and write nothing.

    Returns:
        str: A report of what was carried over, and what was not.

    Raises:
        UserError: If the source is bad, by name, or the target is there.
    """
    source, target = Path(source), Path(target)
    if source_format == target_format:
        raise UserError(f'{source} is {source_format} already')
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f'{target} exists already: name another folder, or remove it')
    found = read_splits(
        source, source_format, splits, Path(image_dir) if image_dir else None
    )
    layout = LAYOUTS[target_format]
    if layout.file_of_image:
        _check_stems(found, layout.file_of_image)
    needed = images != 'none' or LAYOUTS[source_format].needs_images
    _check_images(found, needed)
    if not dry_run:
        _write_all(found, target, layout, images)
    return '\n'.join(_report(split, target_format) for split in found)


def _write_all(
    splits: Sequence[Split], target: Path, layout: Layout, images: str
) -> None:
    unfinished = target.with_name(f'{target.name}.unfinished-{os.getpid()}')
    total = sum(len(split.pictures) for split in splits)
    progress = tqdm(total=total, desc=f'writing {target}', delay=2, unit='image')

    def place(picture: Picture, path: Path) -> None:
        progress.update()
        path.parent.mkdir(parents=True, exist_ok=True)
        if images == 'copy':
            shutil.copyfile(_file(picture), path)
        elif images == 'link':
            path.symlink_to(_file(picture).resolve())

    try:
        unfinished.mkdir(parents=True)
    except FileExistsError as error:  # in containers, process ids come again
        raise UserError(
            f'{unfinished} is there, perhaps of a run that was killed: remove it'
        ) from error
    except OSError as error:
        raise UserError(f'cannot write {target}: {error}') from error
    try:
        with progress:
            for split in splits:
                layout.write(split, unfinished, place)
        os.rename(unfinished, target)
    except OSError as error:
        raise UserError(f'cannot write {target}: {error}') from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _file(picture: Picture) -> Path:
    assert picture.image is not None
    return picture.image


def _check_stems(splits: Sequence[Split], file_of_image: str) -> None:
    """Refuse images that would share one annotation file, by the names of both."""
    seen: dict[str, str] = {}
    for split in splits:
        for picture in split.pictures:
            file = file_of_image.format(split=split.name, stem=stem(picture))
            mine = f'{picture.title} of {split.name}'
            if file in seen:
                raise UserError(
                    f'{seen[file]} and {mine} would have one annotation file, '
                    f'{stem(picture)}. Rename one, or choose other --splits'
                )
            seen[file] = mine


def _check_images(splits: Sequence[Split], needed: bool) -> None:
    """Refuse images that are missing or not as annotated.

    Where they are not needed, because none is written, the sizes of those that are
    there are compared, and the rest is noted.
    """
    for split in splits:
        absent = [one for one in split.pictures if not _file(one).is_file()]
        if absent and not needed:
            split.notes.append(
                f'the sizes of {len(absent)} images were not compared with the files, '
                f'which are not there: {first_of([str(_file(p)) for p in absent])}'
            )
    faults = [
        fault
        for split in splits
        for picture in tqdm(split.pictures, 'looking at images', delay=2)
        if (fault := find_fault(_file(picture), picture.width, picture.height))
        and (needed or fault[0] != MISSING)
    ]
    total = sum(len(split.pictures) for split in splits)
    trouble = describe_faults(faults, total, REMEDIES)
    if trouble:
        raise UserError(trouble)


def _report(split: Split, kind: str) -> str:
    """Say in a few lines what a split holds, and what of it is not carried over."""
    mark = LAYOUTS[kind].ignored
    objects = [found for picture in split.pictures for found in picture.objects]
    kept = [found for found in objects if mark or not found.ignored]
    counts = Counter(found.class_name for found in kept)
    empty = sum(not picture.objects for picture in split.pictures)
    lines = [
        f'{split.name}: {len(split.pictures)} images, {empty} without objects; '
        f'{len(kept)} boxes of {len(split.classes)} classes: '
        + ', '.join(f'{name} {counts[name]}' for name in split.classes[:20])
        + (', ...' if len(split.classes) > 20 else '')
    ]
    ignored = [found.title for found in objects if found.ignored]
    if ignored and mark:
        lines.append(f'  marked crowd or difficult, now {mark}: {len(ignored)}')
    elif ignored:
        lines.append(
            f'  left out, marked crowd or difficult, for which {kind.upper()} has no '
            f'mark: {len(ignored)}: {first_of(ignored)}'
        )
    for reason in (NO_AREA, OUTSIDE):
        titles = [
            found.title
            for picture in split.pictures
            for found in picture.objects
            if why_left_out(found, picture, split.classes) == reason
        ]
        if titles:
            lines.append(
                f'  carried over as they are, {reason}: {len(titles)}: '
                + first_of(titles)
            )
    extras = Counter(key for found in objects for key in found.extras)
    if extras:
        named = ', '.join(f'{key} {number}' for key, number in extras.most_common())
        lines.append(f'  not carried over, of objects: {named}')
    lines += [f'  note: {note}' for note in split.notes]
    return '\n'.join(lines)
