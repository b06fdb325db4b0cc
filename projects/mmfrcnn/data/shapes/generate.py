"""Write the drawn-shapes data set to disk, in COCO format.

::

    ROOT/train/000000.jpg ...
    ROOT/val/000000.jpg ...
    ROOT/annotations/instances_train.json
    ROOT/annotations/instances_val.json

Boxes and masks are those of the *visible* part of an object, as in COCO. A split's
annotation file is written last and by an atomic rename, so where it exists the split
is complete; a run that was killed leaves none and is simply made again.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from pycocotools import mask as coco_mask
from tqdm import tqdm

from mmfrcnn.cores import usable_cores
from mmfrcnn.data.shapes.layout import HEIGHT, WIDTH, box_of, random_layout
from mmfrcnn.data.shapes.outlines import CLASSES
from mmfrcnn.data.shapes.painting import paint
from mmfrcnn.errors import UserError
from mmfrcnn.files import write_whole

SPLITS = ('train', 'val')
DEFAULT_SEED = 0
DEFAULT_COUNTS = {'train': 3000, 'val': 300}
_JPEG_QUALITY = 92
_VERSION = '1'
_DESCRIPTION = 'mmfrcnn drawn shapes'
MARKER = '.drawn-shapes'
"""A file in every folder that was made here, written before anything else."""


def annotation_file(root: str | Path, split: str) -> Path:
    """Path of a split's COCO annotation file."""
    return Path(root) / 'annotations' / f'instances_{split}.json'


def is_complete(root: str | Path) -> bool:
    """Tell whether both splits have been made."""
    return all(annotation_file(root, split).exists() for split in SPLITS)


def make_shapes(
    root: str | Path,
    *,
    seed: int = DEFAULT_SEED,
    counts: dict[str, int] | None = None,
    workers: int | None = None,
    force: bool = False,
) -> list[str]:
    """Make the data set, or what is missing of it.

    Processes that call this at the same time take turns: the first makes the data,
    the others find it made.

    Args:
        root (str | Path): Folder to write to.
        seed (int): Same seed, same annotations and pictures, on any number of workers.
        counts (dict[str, int], optional): Pictures for each of ``SPLITS``.
        workers (int, optional): Processes. Defaults to the number of CPUs.
        force (bool): Make it again where it is complete.

    Returns:
        list[str]: The splits that were made now.

    Raises:
        UserError: If a value is out of range, the folder can't be written, or it holds
            anything else, or a set made with another seed or number of pictures.
    """
    root, counts = Path(root), counts or DEFAULT_COUNTS
    workers = usable_cores() if workers is None else workers
    _check_values(seed, counts, workers)
    _refuse_foreign(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / '.lock'):
            (root / MARKER).touch()
            (root / 'annotations').mkdir(exist_ok=True)
            missing = []
            for split in SPLITS:
                file = annotation_file(root, split)
                if force:
                    file.unlink(missing_ok=True)
                if not _already_made(file, seed, counts[split]):
                    missing.append(split)
            for split in missing:
                _make_split(root, split, seed, counts[split], workers)
    except OSError as error:
        raise UserError(f'cannot write the shapes data to {root}: {error}') from error
    return missing


def _refuse_foreign(root: Path) -> None:
    """Write into a folder that is empty, absent or made here, and into no other."""
    try:
        inside = sorted(path.name for path in root.iterdir())
    except OSError:  # absent, or what writing will complain about
        return
    # Another process may hold the lock and not have set the marker yet; sets of before
    # there was one are known by their annotation files.
    if inside in ([], ['.lock']) or MARKER in inside or _says_so_itself(root):
        return
    raise UserError(
        f'{root} is a folder of other files ({", ".join(inside[:3])}'
        f'{", ..." * (len(inside) > 3)}), so no shapes are drawn there. For data of '
        "your own say type='CocoDataset' (or another reader) in each dataloader's "
        'dataset; for drawn shapes, name a folder that does not exist'
    )


def _says_so_itself(root: Path) -> bool:
    """Whether the training set's annotation file names us as its maker."""
    try:
        content = json.loads(annotation_file(root, 'train').read_text())
        return content['info']['description'] == _DESCRIPTION
    except (OSError, ValueError, KeyError, TypeError):
        return False


def draw(seed: int, split: str, index: int) -> tuple[np.ndarray, list[dict]]:
    """Draw one picture and its annotations.

    Args:
        seed (int): The data set's seed.
        split (str): One of ``SPLITS``.
        index (int): Number of the picture in the split, from 0.

    Returns:
        tuple[np.ndarray, list[dict]]: The picture, (240, 320, 3) uint8 BGR, and COCO
        annotations without ``id`` and ``image_id``: boxes (x, y, width, height) in
        whole pixels, run-length masks, area in pixels.
    """
    key = [seed, SPLITS.index(split), index]
    layers = random_layout(np.random.default_rng([*key, 0]))
    picture = paint(layers, np.random.default_rng([*key, 1]))
    annotations = []
    for layer in layers:
        if layer.category is not None:
            annotations.append(
                {
                    'category_id': layer.category + 1,
                    'iscrowd': int(layer.crowd),
                    'bbox': list(box_of(layer.visible)),
                    'area': int(layer.visible.sum()),
                    'segmentation': _run_lengths(layer.visible),
                }
            )
    return picture, annotations


def _run_lengths(mask: np.ndarray) -> dict:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': list(mask.shape), 'counts': encoded['counts'].decode('ascii')}


def _check_values(seed: int, counts: dict[str, int], workers: int) -> None:
    if seed < 0:
        raise UserError(f'seed must be 0 or more, not {seed}')
    for split in SPLITS:
        if counts[split] < 1:
            raise UserError(
                f'the number of {split} pictures must be 1 or more, not {counts[split]}'
            )
    if workers < 1:
        raise UserError(f'the number of workers must be 1 or more, not {workers}')


def _already_made(file: Path, seed: int, count: int) -> bool:
    """Tell whether a split is there, and that it is the one asked for."""
    if not file.exists():
        return False
    try:
        content = json.loads(file.read_text())
        found = content['info']['seed'], len(content['images'])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{file} is not an annotation file of the shapes data; '
            'give another folder, or make it again with --force'
        ) from error
    if found != (seed, count):
        raise UserError(
            f'{file} was made with seed {found[0]} and {found[1]} pictures, not seed '
            f'{seed} and {count}; give another folder, or make it again with --force'
        )
    return True


def _make_split(root: Path, split: str, seed: int, count: int, workers: int) -> None:
    folder = root / split
    folder.mkdir(exist_ok=True)
    images, annotations = [], []
    pictures = _draw_all(partial(_draw_to_file, folder, seed, split), count, workers)
    shown = {'unit': 'picture', 'mininterval': 1.0, 'disable': None}  # on a terminal
    progress = tqdm(pictures, f'{folder}', total=count, **shown)
    for index, found in enumerate(progress):
        images.append(
            {
                'id': index,
                'file_name': _file_name(index),
                'width': WIDTH,
                'height': HEIGHT,
            }
        )
        for annotation in found:
            annotations.append(
                {'id': len(annotations) + 1, 'image_id': index, **annotation}
            )
    content = {
        'info': {
            'description': _DESCRIPTION,
            'version': _VERSION,
            'seed': seed,
        },
        'images': images,
        'annotations': annotations,
        'categories': [
            {'id': index + 1, 'name': name} for index, name in enumerate(CLASSES)
        ],
    }
    write_whole(annotation_file(root, split), json.dumps(content))


def _draw_all(draw_one, count: int, workers: int) -> Iterator[list[dict]]:
    """Yield the annotations of every picture, in order."""
    if workers == 1:
        yield from map(draw_one, range(count))
        return
    # Threads of OpenCV that the parent may have started don't survive a fork.
    with multiprocessing.Pool(workers, cv2.setNumThreads, (1,)) as pool:
        yield from pool.imap(draw_one, range(count), chunksize=8)


def _draw_to_file(folder: Path, seed: int, split: str, index: int) -> list[dict]:
    picture, annotations = draw(seed, split, index)
    file = folder / _file_name(index)
    if not cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
        raise OSError(f'cannot write {file}')
    return annotations


def _file_name(index: int) -> str:
    return f'{index:06d}.jpg'
