"""The splits of a folder: held out where there is none for validation, and leaks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from mmfrcnn.data.discovery.listing import WHOLE
from mmfrcnn.data.discovery.recognise import Found
from mmfrcnn.data.discovery.split import hold_out
from mmfrcnn.data.formats.pictures import Picture
from mmfrcnn.errors import UserError, first_of

SHARE = 0.2
"""Of the images, held out where there is no validation split."""


def settle_splits(found: Found, groups: Sequence[int], seed: int) -> str:
    """Hold a validation split out where there is none; say what the splits share.

    Args:
        found (Found): The folder; its splits are settled in place.
        groups (Sequence[int]): Of each image, split by split, a number that alike ones
            share.
        seed (int): Of the choice.

    Returns:
        str: Where the splits come from.

    Raises:
        UserError: If nothing is left to train on, or to validate with.
    """
    numbers = iter(groups)
    of_split = {
        split: [next(numbers) for _ in pictures]
        for split, pictures in found.pictures.items()
    }
    if WHOLE in found.splits:
        found.splits['train'] = found.splits.pop(WHOLE)
        found.pictures['train'] = found.pictures.pop(WHOLE)
        of_split['train'] = of_split.pop(WHOLE)
    if 'train' not in found.splits:
        raise UserError(
            f'{found.root}: it has {" and ".join(found.splits)}, and nothing to train '
            'on. Rename a folder or file: train'
        )
    for line in _leaks(found.pictures, of_split):
        print(line)
    if 'val' in found.splits:
        return 'as the folder has them'
    pictures, groups = found.pictures['train'], of_split['train']
    held = hold_out(pictures, groups, SHARE, seed)
    if not any(held):  # all are of one group
        held = hold_out(pictures, range(len(pictures)), SHARE, seed)
        print(
            f'All {len(held)} images are nearly equal, so figures on those held out '
            'flatter what is trained on the rest'
        )
    if not any(held):
        raise UserError(
            f'{found.root}: there is one image to train on, and none can be held out '
            'for validation. Add images'
        )
    parts = {
        'train': [one for one, out in zip(pictures, held, strict=True) if not out],
        'val': [one for one, out in zip(pictures, held, strict=True) if out],
    }
    folder = _write_lists(found, parts)
    alike = len(groups) - len(set(groups))
    return (
        f'{len(parts["val"])} of {len(held)} images are held out ({folder}), each '
        f'class in proportion, seed {seed}'
        + f'; {alike} images like another stay with it'
        * (alike > 0)
    )


def _write_lists(found: Found, parts: dict[str, list[Picture]]) -> Path:
    """Write the titles of both parts beside the folder, and have the splits use them.

    Raises:
        UserError: If there are lists of another split.
    """
    root = Path(os.path.abspath(found.root))
    folder = Path(os.path.relpath(root.with_name(f'{root.name}.splits')))
    texts = {
        folder / f'{split}.txt': ''.join(f'{one.title}\n' for one in pictures)
        for split, pictures in parts.items()
    }
    for file, text in texts.items():
        if file.exists() and file.read_text('utf-8') != text:
            raise UserError(
                f'{file} is there already, of another split of these images. Move '
                f'{folder} away to have them split anew'
            )
    folder.mkdir(exist_ok=True)
    config = found.splits.pop('train')
    for split, pictures in parts.items():
        file = folder / f'{split}.txt'
        file.write_text(texts[file], encoding='utf-8')
        subset = Path(os.path.relpath(file, found.root)).as_posix()
        found.splits[split] = {**config, 'subset': subset}
        found.pictures[split] = pictures
        objects = (thing.class_name for one in pictures for thing in one.objects)
        counts = ', '.join(f'{name} {n}' for name, n in Counter(objects).most_common(9))
        print(f'{file}: {len(pictures)} images: {counts}')
    return folder


def _leaks(
    pictures: dict[str, list[Picture]], groups: dict[str, list[int]]
) -> Iterator[str]:
    """Say which images of one split are like some of another."""
    for first, second in combinations(pictures, 2):
        there = set(groups[first])
        pairs = zip(pictures[second], groups[second], strict=True)
        shared = [picture.title for picture, group in pairs if group in there]
        if shared:
            yield (
                f'{len(shared)} of {len(pictures[second])} images of {second} are '
                f'equal or nearly equal to images of {first}, so figures on one '
                f'flatter what was trained on the other: {first_of(shared)}'
            )
