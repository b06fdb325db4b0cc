"""What is allowed in annotations and seldom meant: said before training, by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from mmfrcnn.data.formats.pictures import Picture
from mmfrcnn.errors import first_of

BEYOND_SHARE = 0.3
"""Boxes beyond their image, of all, from which on they are likely misread."""
BEYOND = 1.0
"""Pixels beyond the image that rounding explains."""


def oddities(
    categories: Sequence[str], pictures: Sequence[Picture], question: str
) -> Iterator[str]:
    """Yield one line for each kind of oddity that a split's annotations have.

    Args:
        categories (Sequence[str]): The names that the annotation file knows.
        pictures (Sequence[Picture]): Its images.
        question (str): Asked where many boxes reach beyond their image.
    """
    yield from _alike(categories)
    yield from _listed_twice(pictures)
    yield from _boxes_twice(pictures)
    yield from _beyond(pictures, question)


def _alike(categories: Sequence[str]) -> Iterator[str]:
    same = defaultdict(list)
    for name in categories:
        same[' '.join(name.split()).casefold()].append(name)
    found = [names for names in same.values() if len(names) > 1]
    if found:
        named = first_of([' and '.join(map(repr, names)) for names in found])
        yield f'classes whose names differ by case or spaces alone: {named}'


def _listed_twice(pictures: Sequence[Picture]) -> Iterator[str]:
    same = defaultdict(list)
    for picture in pictures:
        same[picture.title].append(picture)
    found = {title: them for title, them in same.items() if len(them) > 1}
    if found:
        bare = [
            title
            for title, them in found.items()
            if len({bool(picture.objects) for picture in them}) > 1
        ]
        also = f'; {len(bare)} of them once with and once without objects: '
        yield (
            f'{len(found)} images are listed more than once: {first_of([*found])}'
            f'{also + first_of(bare) if bare else ""}'
        )


def _boxes_twice(pictures: Sequence[Picture]) -> Iterator[str]:
    titles = []
    for picture in pictures:
        seen = set()
        for found in picture.objects:
            key = found.class_name, found.box
            if key in seen:
                titles.append(found.title)
            seen.add(key)
    if titles:
        yield f'{len(titles)} boxes are there twice: {first_of(titles)}'


def _beyond(pictures: Sequence[Picture], question: str) -> Iterator[str]:
    """Boxes of another form or unit than the format's reach beyond their images."""
    boxes = sum(len(picture.objects) for picture in pictures)
    beyond = [
        found.title
        for picture in pictures
        for found in picture.objects
        if found.box[2] > picture.width + BEYOND
        or found.box[3] > picture.height + BEYOND
    ]
    if len(beyond) > BEYOND_SHARE * boxes:
        yield (
            f'{len(beyond)} of {boxes} boxes reach beyond their image: '
            f'{first_of(beyond)}. {question}'
        )
