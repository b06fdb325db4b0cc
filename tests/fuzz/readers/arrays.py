"""Files of numpy arrays: stored proposals and ledgers."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from mmfrcnn.data.proposals import ImageProposals, StoredProposals, save_proposals
from mmfrcnn.data.transforms.load_proposals import LoadStoredProposals
from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.figures.comparison import compare
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.evaluation.ledger.matching import THRESHOLDS
from tests.fuzz.reader import Reader, no_opinion
from tests.fuzz.texts import changed_bytes, put

KINDS = (
    'f4',
    'f8',
    'f2',
    'i1',
    'i8',
    'u8',
    'U3',
    'S4',
    '?',
    'c8',
    'M8[s]',
    '>f4',
    'V4',
)


def write_arrays(rng: Random, path: Path, content: bytes, share: float = 0.75) -> bool:
    """Write an archive of which arrays, bytes of arrays or bytes are changed."""
    kind = rng.random()
    if kind < 0.02:
        put(rng, path, content, is_whole=True)
        return True
    if kind > 0.9:
        put(rng, path, changed_bytes(rng, content))
        return False
    arrays = _members(content)
    for _ in range(rng.choice([1, 1, 1, 2])):
        name = rng.choice(sorted(arrays))
        arrays[name] = (
            _changed_array(rng, arrays[name])
            if kind < share
            else changed_bytes(rng, arrays[name])
        )
        if rng.random() < 0.03:
            del arrays[name]
    put(rng, path, _archive(arrays))
    return False


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def _archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def _changed_array(rng: Random, content: bytes) -> bytes:
    """Give an array another kind of number, another shape or another value."""
    array = np.atleast_1d(np.lib.format.read_array(io.BytesIO(content)))
    kind = rng.random()
    with np.errstate(all='ignore'):
        if kind < 0.25:
            array = np.zeros(array.shape, rng.choice(KINDS))
        elif kind < 0.5:
            shapes = [
                array[:-1],
                array[:0],
                array.ravel(),
                array[..., None],
                array[None],
            ]
            array = rng.choice([*shapes, np.concatenate([array, array]), array.T])
        elif array.size and array.dtype.kind in 'fi':
            values = [np.nan, np.inf, -1, 0, 1, 2, 3, 1e30, -1e30, 2**62, -(2**62), 127]
            array = array.copy()
            flat = array.reshape(-1)
            flat[rng.randrange(array.size)] = np.float64(rng.choice(values)).astype(
                array.dtype
            )
        else:
            array = np.array(rng.choice([0, 'x', [], [['a']], 1.5, [True]]))
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


# -- Proposals


@cache
def _proposals(folder: Path) -> bytes:
    boxes = np.array([[1, 2, 3, 4], [0, 0, 40, 30], [5, 5, 9, 20]], np.float32)
    images = [
        ImageProposals('a', (30, 40), boxes[:2], np.array([0.9, 0.5])),
        ImageProposals('b', (30, 40), boxes[:0], np.zeros(0)),
        ImageProposals('c', (30, 40), boxes[2:], np.array([0.25])),
    ]
    save_proposals(folder / 'valid.npz', images)
    return (folder / 'valid.npz').read_bytes()


def write_proposals(rng: Random, folder: Path) -> bool:
    """Write a file of proposals."""
    return write_arrays(rng, folder / 'p.npz', _proposals(folder))


def read_proposals(folder: Path) -> Any:
    """Look up every image, and load one as a pipeline does."""
    stored = StoredProposals(folder / 'p.npz')
    step = LoadStoredProposals(str(folder / 'p.npz'))
    found = {}
    for name in stored._place:
        one = stored[name]
        found[name] = (
            [*one.boxes.ravel().tolist(), *one.scores.tolist()],
            list(one.size),
        )
        shape = (*one.size, 3)
        loaded = step({'img_id': name, 'ori_shape': shape, 'img_shape': shape})
        assert np.isfinite(loaded['proposals']).all()
    return found


def proposals_reference(folder: Path) -> Any:
    """Read the arrays as numpy does."""
    with np.load(folder / 'p.npz') as file:
        ids, sizes, ends = file['image_ids'], file['sizes'], file['ends']
        rows = np.split(file['boxes'], ends[:-1]), np.split(file['scores'], ends[:-1])
    found = {}
    for name, size, boxes, scores in zip(
        ids.tolist(), sizes.tolist(), *rows, strict=True
    ):
        found[name] = [*boxes.ravel().tolist(), *scores.tolist()], size
    return found


# -- Ledgers


@cache
def _ledger(folder: Path) -> tuple[bytes, Columns]:
    rng = np.random.default_rng(0)
    images, objects, detections, thresholds = 3, 5, 7, 10
    lengths = dict(image=images, object=objects, detection=detections)
    values: dict[str, Any] = {}
    for name in Columns.__dataclass_fields__:
        length = lengths.get(name.partition('_')[0], 0)
        wide = 4 if name.endswith('_box') else 2
        if name.endswith('_box'):
            corners = np.sort(rng.integers(0, 30, (length, 2, 2)), 1)
            corners[:, 1] += 1
            values[name] = corners.reshape(length, wide).astype(np.float64)
        elif name in ('image_size', 'image_scale'):
            values[name] = np.full((length, 2), 40)
        elif name in ('object_image', 'detection_image'):
            values[name] = np.sort(rng.integers(0, images, length))
        elif name.endswith(('_iou', '_score', '_rank')):
            values[name] = rng.random(length)
        else:
            values[name] = rng.integers(0, 2, length)
    for name in ('image_id', 'image_path', *(f'object_{g}' for g in GROUPS)):
        values[name] = np.array([f'{name}{i}' for i in range(len(values[name]))])
    values['detection_hits'] = rng.integers(-1, 2, (thresholds, detections)).astype(
        np.int8
    )
    values['detection_score'] = values['detection_score'].astype(np.float32)
    values['detection_box'] = values['detection_box'].astype(np.float32)
    values['image_scale'] = values['image_scale'].astype(np.float64)
    values['thresholds'] = THRESHOLDS
    values['classes'] = np.array(['cat', 'dog'])
    values['fates'] = values['kinds'] = np.array(['a', 'b', 'c'])
    columns = Columns(**values)
    columns.write(folder / 'valid.npz')
    return (folder / 'valid.npz').read_bytes(), columns


GROUPS = ('size', 'aspect', 'crowding', 'position', 'level')


def write_ledger(rng: Random, folder: Path) -> bool:
    """Write a ledger."""
    return write_arrays(rng, folder / 'l.npz', _ledger(folder)[0], 0.85)


def read_ledger(folder: Path) -> Any:
    """Read one and compare with it, as a report does."""
    columns = Columns.read(folder / 'l.npz')
    try:
        compare(_ledger(folder)[1], columns, samples=2)
    except UserError as error:
        assert str(error).startswith('A and B cannot be compared')


def prepare(folder: Path) -> None:
    """Need nothing beside the file."""


READERS = [
    Reader(
        'proposals', prepare, write_proposals, read_proposals, proposals_reference, 2
    ),
    Reader('ledger', prepare, write_ledger, read_ledger, no_opinion, 0.2),
]
