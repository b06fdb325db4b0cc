"""The files of a folder, listed once; which split a path names; where images are."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmfrcnn.data.images import SUFFIXES
from mmfrcnn.errors import UserError, first_of

SPLIT = re.compile(
    r'(?<![a-z])(train|val|test)(?:ing|id|idation|val)?(?![a-z])|(?<![a-z])(dev)\b'
)
WHOLE = 'all'
"""The split of what names none."""


@dataclass(frozen=True)
class Listing:
    """All files of a folder by their suffix, in lower case; paths begin with ``root``.

    What is hidden (a name that begins with a dot, macOS's ``__MACOSX``) is passed over.
    """

    root: Path
    files: dict[str, list[Path]]

    def of(self, *suffixes: str) -> list[Path]:
        """Return the files with one of some suffixes, sorted."""
        found = [path for suffix in suffixes for path in self.files.get(suffix, ())]
        return sorted(found)

    def images(self) -> list[Path]:
        """Return the images, sorted."""
        return self.of(*SUFFIXES)

    def inside(self, path: Path) -> str:
        """Return a path as configs write it, below ``data_root``."""
        return path.relative_to(self.root).as_posix()


def list_folder(root: Path) -> Listing:
    """List the files below a folder, through links to folders as well.

    Raises:
        UserError: If there is no such folder.
    """
    if not root.is_dir():
        what = 'that is a file' if root.exists() else 'there is none'
        raise UserError(f'{root}: not a folder: {what}')
    files: dict[str, list[Path]] = {}
    seen: set[str] = set()
    for folder, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not _hidden(name))
        for name in names:
            if not _hidden(name):
                path = Path(folder, name)
                files.setdefault(path.suffix.lower(), []).append(path)
    return Listing(root, files)


def _hidden(name: str) -> bool:
    return name.startswith('.') or name == '__MACOSX'


def split_of(path: Path, root: Path) -> str:
    """Return the split that a path names: its last part first, then the folders above.

    Example:
        >>> split_of(Path('pets/annotations/instances_val2017.json'), Path('pets'))
        'val'
        >>> split_of(Path('pets/valid/_annotations.coco.json'), Path('pets'))
        'val'
        >>> split_of(Path('pets/latest.json'), Path('pets'))
        'all'
    """
    for part in reversed(path.relative_to(root).parts):
        found = SPLIT.search(part.lower())
        if found:
            return found[1] or 'val'
    return WHOLE


def one_each(files: Sequence[Path], listing: Listing) -> dict[str, Path]:
    """Return the file of each split that annotation files of one format name.

    One alone that names none is the whole.

    Raises:
        UserError: If it is not clear which file is which split.
    """
    found: dict[str, Path] = {}
    for file in files:
        split = split_of(file, listing.root)
        if split in found:
            what = f'the {split} split' if split != WHOLE else 'no split'
            raise UserError(
                f'{listing.root}: {listing.inside(found[split])} and '
                f'{listing.inside(file)} both name {what}. Rename them by their splits '
                '(train, val, test), or move one out of the folder'
            )
        found[split] = file
    if len(found) > 1 and WHOLE in found:
        raise UserError(
            f'{listing.root}: {listing.inside(found[WHOLE])} names no split, and '
            f'{listing.inside(next(f for s, f in found.items() if s != WHOLE))} does. '
            'Rename it by its split (train, val, test), or move it out of the folder'
        )
    return found


def folder_of_images(
    titles: Collection[str], file: Path, split: str, listing: Listing
) -> Path:
    """Return the folder that the file names in an annotation file are relative to.

    Args:
        titles (Collection[str]): The file names.
        file (Path): The annotation file.
        split (str): Its split.
        listing (Listing): The folder that it is in.

    Raises:
        UserError: If no folder has all of them.
    """
    images = listing.images()
    paths = {str(path) for path in images}
    for folder in (file.parent, listing.root):  # which ".." in a name may lead out of
        if all(os.path.normpath(folder / title) in paths for title in titles):
            return folder
    found = folders_with({os.path.normpath(title) for title in titles}, images)

    def rank(folder: Path) -> tuple:
        other = split_of(folder, listing.root)
        same = other != split, other != WHOLE
        return -found[folder], *same, len(folder.parts), str(folder)

    inside = [one for one in found if one.is_relative_to(listing.root)]
    nearest = min(inside, key=rank, default=None)
    if nearest is None:
        raise UserError(
            f'{file}: none of its {len(titles)} images is below {listing.root}: '
            f'{first_of(sorted(titles))}'
        )
    gone = [t for t in titles if os.path.normpath(nearest / t) not in paths]
    if gone:
        raise UserError(
            f'{file}: {len(gone)} of its {len(titles)} images are missing: '
            f'{first_of(gone)}. Most of them are in {nearest}'
        )
    return nearest


def folders_with(names: Collection[str], paths: Iterable[Path]) -> Counter[Path]:
    """Count how many of some relative names each folder has.

    Args:
        names (Collection[str]): Such as ``train/a.jpg``.
        paths (Iterable[Path]): The files that there are.
    """
    found: Counter[str] = Counter()
    for path in paths:
        text = path.as_posix()
        found['.'] += text in names
        place = text.rfind('/')
        while place >= 0:  # from the nearest folder up: one look for each
            found[text[:place]] += text[place + 1 :] in names
            place = text.rfind('/', 0, place)
    return Counter({Path(folder): count for folder, count in found.items() if count})
