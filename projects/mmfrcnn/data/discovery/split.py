"""Holding out a part of a data set: whole groups, each class in proportion.

After Sechidis, Tsoumakas and Vlahavas, On the stratification of multi-label data, 2011:
the rarest class is dealt out first, each group to the side that lacks most of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mmfrcnn.data.formats.pictures import Picture

EMPTY = ''
"""Stands for the class of images without objects, which are dealt out as well."""


def hold_out(
    pictures: Sequence[Picture], groups: Sequence[int], share: float, seed: int = 0
) -> list[bool]:
    """Choose the images of a validation split.

    Args:
        pictures (Sequence[Picture]): The images.
        groups (Sequence[int]): The group of each; a group is never divided.
        share (float): Of the images, to be held out.
        seed (int): Of the order among groups that are as good.

    Returns:
        list[bool]: Of each image, whether it is held out. At least one is, and one is
        not, if there are two groups; the only group with a class is not.
    """
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(int(group), []).append(index)
    order = np.random.default_rng(seed).permutation(sorted(members)).tolist()
    counts = {group: _classes(pictures[i] for i in members[group]) for group in order}
    total: Counter[str] = Counter()
    for count in counts.values():
        total.update(count)
    wanted = {name: share * number for name, number in total.items()}
    room = share * len(pictures)
    held: set[int] = set()
    left = set(order)
    for name in sorted(total, key=lambda name: (total[name], name)):
        having = [group for group in order if group in left and counts[group][name]]
        # The first, the fullest of the class, is kept for training.
        having.sort(key=lambda group: -counts[group][name])
        for group in having:
            left.discard(group)
            fits = len(members[group]) <= max(room, 0) * 1.5 + 0.5
            if group != having[0] and fits and wanted[name] >= counts[group][name] / 2:
                held.add(group)
                room -= len(members[group])
                for other, number in counts[group].items():
                    wanted[other] -= number
    if not held and len(members) > 1:
        held.add(_most_replaceable(order, members, counts, total))
    return [int(group) in held for group in groups]


def _most_replaceable(
    order: list[int],
    members: dict[int, list[int]],
    counts: dict[int, Counter[str]],
    total: Counter[str],
) -> int:
    """Return a small group whose classes the others have as well, if there is one."""

    def cost(group: int) -> tuple[int, int]:
        alone = sum(counts[group][name] == total[name] for name in counts[group])
        return alone, len(members[group])

    return min(order, key=cost)


def _classes(pictures) -> Counter[str]:
    count: Counter[str] = Counter()
    for picture in pictures:
        names = {found.class_name for found in picture.objects if not found.ignored}
        count.update(names or {EMPTY})
    return count
