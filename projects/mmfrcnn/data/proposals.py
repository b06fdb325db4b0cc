"""Proposals in a file: numpy's npz without pickled objects, so reading runs nothing.

Boxes are xyxy in pixels of the original image, best first. Arrays of the file, for M
images with P proposals in all: ``image_ids`` (M,) text, ``sizes`` (M, 2) height and
width, ``ends`` (M,) where each image's rows end, ``boxes`` (P, 4) and ``scores`` (P,)
float32.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmfrcnn.compat.checkpoint_file import unpacks_to_more
from mmfrcnn.errors import UserError, reason_of
from mmfrcnn.files import written_whole

ARRAYS = ('image_ids', 'sizes', 'ends', 'boxes', 'scores')


@dataclass
class ImageProposals:
    """The proposals of one image.

    Attributes:
        img_id (Hashable): The image, as its data set calls it.
        size (tuple[int, int]): Height and width of the original image.
        boxes (np.ndarray): xyxy in original pixels, float32, shape (P, 4), best first.
        scores (np.ndarray): Objectness, float32, shape (P,).
    """

    img_id: Hashable
    size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray


class StoredProposals:
    """A file of proposals, looked up by image.

    Args:
        path (str | Path): What :func:`save_proposals` wrote.

    Raises:
        UserError: If there is no such file, or it is none of these.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        arrays = read_arrays(self.path)
        self._sizes, self._ends = arrays['sizes'], arrays['ends']
        self._boxes, self._scores = arrays['boxes'], arrays['scores']
        self._place = {name: i for i, name in enumerate(arrays['image_ids'].tolist())}

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, img_id: Hashable) -> bool:
        return str(img_id) in self._place

    def __getitem__(self, img_id: Hashable) -> ImageProposals:
        """Return the proposals of an image.

        Raises:
            UserError: If the file has none of this image.
        """
        place = self._place.get(str(img_id))
        if place is None:
            raise UserError(
                f'{self.path} has no proposals of image {img_id!r}; it is of '
                f'{len(self)} other images, such as {next(iter(self._place), None)!r}. '
                'Make it for this data set with `mmfrcnn store-proposals`'
            )
        start = self._ends[place - 1] if place else 0
        rows = slice(int(start), int(self._ends[place]))
        height, width = self._sizes[place].tolist()
        return ImageProposals(
            img_id, (height, width), self._boxes[rows], self._scores[rows]
        )


def save_proposals(path: str | Path, images: Sequence[ImageProposals]) -> None:
    """Write the proposals of a data set; a file of this name is replaced in one step.

    Args:
        path (str | Path): The file, ``.npz``.
        images (Sequence[ImageProposals]): One an image.

    Raises:
        UserError: If two images have the same id.
    """
    names = [str(image.img_id) for image in images]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(
            f'two images have the id {twice!r}, so their proposals could not be told '
            'apart: give the images of joined data sets ids of their own'
        )
    boxes = [np.asarray(image.boxes, np.float32).reshape(-1, 4) for image in images]
    scores = [np.asarray(image.scores, np.float32) for image in images]
    with written_whole(path) as stream:
        np.savez(
            stream,
            image_ids=np.array(names, dtype=np.str_),
            sizes=np.array([im.size for im in images], np.int64).reshape(-1, 2),
            ends=np.cumsum([len(rows) for rows in boxes], dtype=np.int64),
            boxes=np.concatenate([*boxes, np.zeros((0, 4), np.float32)]),
            scores=np.concatenate([*scores, np.zeros(0, np.float32)]),
        )


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Read a file of proposals as the arrays that it holds.

    Raises:
        UserError: If it is missing, or no such file.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise ValueError('it is no file')
        if unpacks_to_more(Path(path)):
            raise ValueError('it is compressed, and may unpack to any size')
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS}
        if not _fit(**arrays):
            raise ValueError('its arrays do not fit each other')
    except FileNotFoundError:
        raise UserError(
            f'no such file of proposals: {path}. `mmfrcnn store-proposals` makes one '
            'from a trained RPN'
        ) from None
    except Exception as error:  # numpy and zipfile raise any, of a damaged file
        raise UserError(_not_proposals(path, reason_of(error))) from error
    return arrays


def _fit(
    image_ids: np.ndarray,
    sizes: np.ndarray,
    ends: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
) -> bool:
    """Whether arrays are of the kinds and shapes that a file of proposals has.

    A member of an archive that is no array comes as its bytes.
    """
    kinds = {'U': [image_ids], 'i': [sizes, ends], 'f': [boxes, scores]}
    if not all(
        isinstance(one, np.ndarray) and one.dtype.kind == kind
        for kind, arrays in kinds.items()
        for one in arrays
    ):
        return False
    images, rows = len(set(image_ids.tolist())), len(boxes)
    return (
        image_ids.shape == (images,)
        and sizes.shape == (images, 2)
        and ends.shape == (images,)
        and boxes.shape == (rows, 4)
        and scores.shape == (rows,)
        and not (np.diff(ends, prepend=0) < 0).any()
        and (ends[-1] if images else 0) == rows
        and bool(np.isfinite(boxes).all() and np.isfinite(scores).all())
    )


def _not_proposals(path: str, reason: str) -> str:
    return (
        f'{path} is not a file of proposals ({reason}). Make one with '
        "`mmfrcnn store-proposals`; mmdet's pickled files are not read, because "
        'reading them could run anything'
    )


def check_proposals(dataset: Any, key: str) -> None:
    """Check that the proposals a data set's pipeline loads are of its images.

    Args:
        dataset (Any): A data set of mmdet, loaded.
        key (str): What the config calls it, for the message.

    Raises:
        UserError: If the file lacks an image or has it at another size.
    """
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    for stored in (one.stored for one in steps if hasattr(one, 'stored')):
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        absent = [info['img_id'] for info in infos if info['img_id'] not in stored]
        if absent:
            shown = ', '.join(repr(img_id) for img_id in absent[:3])
            raise UserError(
                f'{key}: {stored.path} has no proposals of {len(absent)} of the '
                f'{len(infos)} images ({shown}{", ..." if len(absent) > 3 else ""}). '
                'Make it for this data set with `mmfrcnn store-proposals`'
            )
        for info in infos:
            size = (info.get('height'), info.get('width'))
            known = stored[info['img_id']].size
            if None not in size and size != known:
                raise UserError(
                    f'{key}: image {info["img_id"]!r} is {size[1]}x{size[0]}, in '
                    f'{stored.path} it is {known[1]}x{known[0]}: those are proposals '
                    'of other images'
                )
