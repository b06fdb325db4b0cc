"""The layouts that exporters write, a function each: the data set of each split.

Each returns the configs of data sets by split, without ``data_root``: ``train``,
``val``, ``test``, or ``all`` where the folder names no splits; none if there is nothing
of its format.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mmfrcnn.data.discovery.json_kinds import json_kind
from mmfrcnn.data.discovery.listing import (
    Listing,
    folder_of_images,
    folders_with,
    one_each,
    split_of,
)
from mmfrcnn.data.formats.coco.read import read_coco
from mmfrcnn.data.formats.csv_table import COLUMNS, SIDES, read_rows
from mmfrcnn.data.formats.documents import read_yaml
from mmfrcnn.data.formats.voc import voc_splits
from mmfrcnn.data.formats.yolo.sources import NAMES_FILES, named_sources, split_sources
from mmfrcnn.errors import UserError, first_of

Splits: TypeAlias = dict[str, dict[str, Any]]

VOC_ROOT = re.compile(rb'<annotation[\s>]')
YOLO_LABEL = re.compile(rb'\A(\xef\xbb\xbf)?\s*\d+(\.0+)?([ \t]+[-+.\deE]+){4,}')
OTHER_COCO = ('captions', 'keypoints', 'panoptic', 'stuff')
"""What else COCO's files annotate, beside ``instances``."""
VOC_LISTS = ('ImageSets', 'Main')
DARKNET_NAMES = 'obj.names'
DARKNET_LISTS = ('train', 'valid', 'val', 'test')


def find_coco(listing: Listing) -> Splits:
    """COCO JSON; also Roboflow's, CVAT's and Label Studio's COCO exports."""
    files = [file for file in listing.of('.json') if json_kind(file) == 'coco']
    boxes = [f for f in files if not any(word in f.stem for word in OTHER_COCO)]
    splits = {}
    for split, file in one_each(boxes or files, listing).items():
        titles = [picture.title for picture in read_coco(file)[1]]
        images = folder_of_images(titles, file, split, listing)
        splits[split] = dict(
            type='CocoJsonDataset',
            ann_file=listing.inside(file),
            **_images_in(images, listing),
        )
    return splits


def find_label_studio(listing: Listing) -> Splits:
    """Label Studio's own JSON, the images anywhere below the folder."""
    files = [f for f in listing.of('.json') if json_kind(f) == 'label_studio']
    return {
        split: dict(type='LabelStudioDataset', ann_file=listing.inside(file))
        for split, file in one_each(files, listing).items()
    }


def find_labelme(listing: Listing) -> Splits:
    """LabelMe's JSON beside the images; folders may be named by splits."""
    files = [file for file in listing.of('.json') if json_kind(file) == 'labelme']
    return {
        split: dict(type='LabelMeDataset', **_images_in(_common(here), listing))
        for split, here in _by_folder(files, listing).items()
    }


def find_csv(listing: Listing) -> Splits:
    """Tables of boxes: TensorFlow's, Roboflow's, VoTT's, keras-retinanet's."""
    tables = {}
    for file in listing.of('.csv'):
        try:
            tables[file] = {row['filename'] for _, row in read_rows(file)}
        except UserError as error:
            if _is_meant_as_boxes(file):
                raise error
    splits = {}
    for split, file in one_each(list(tables), listing).items():
        images = folder_of_images(tables[file], file, split, listing)
        splits[split] = dict(
            type='CsvDataset',
            ann_file=listing.inside(file),
            **_images_in(images, listing),
        )
    return splits


def _is_meant_as_boxes(file: Path) -> bool:
    """Whether a CSV file that cannot be read has the columns of a table of boxes."""
    with open(file, encoding='utf-8-sig', errors='replace') as text:
        names = re.split(r'[,;\t]', text.readline().strip().lower())
    return all(set(COLUMNS[side]) & set(names) for side in SIDES)


def find_voc(listing: Listing) -> Splits:
    """Pascal VOC XML: VOC's own folders, or XML beside the images or beside theirs."""
    lists = [file for file in listing.of('.txt') if file.parts[-3:-1] == VOC_LISTS]
    if lists:
        return _voc_by_lists(lists, listing)
    files = [file for file in listing.of('.xml') if _starts_with(file, VOC_ROOT)]
    splits = {}
    for split, here in _by_folder(files, listing).items():
        top = _common(here)
        images = _beside(top, here, listing)
        root = _common([top / 'x', images / 'x'])
        splits[split] = dict(
            type='VocXmlDataset',
            data_prefix=dict(sub_data_root=listing.inside(root)),
            ann_subdir=_below(top, root),
            img_subdir=_below(images, root),
        )
    return splits


def _voc_by_lists(lists: Sequence[Path], listing: Listing) -> Splits:
    roots = sorted({file.parents[2] for file in lists})
    if len(roots) > 1:
        raise UserError(
            f'{listing.root}: {listing.inside(roots[0])} and '
            f'{listing.inside(roots[1])} both have ImageSets/Main. Name one of them'
        )
    (root,) = roots
    names = voc_splits(root)
    if 'train' in names and 'val' in names:  # of which trainval is both
        names = [name for name in names if name != 'trainval']
    files = [root / 'ImageSets/Main' / f'{name}.txt' for name in names]
    return {
        split: dict(
            type='VocXmlDataset',
            ann_file=listing.inside(file),
            data_prefix=dict(sub_data_root=listing.inside(root)),
        )
        for split, file in one_each(files, listing).items()
    }


def _beside(top: Path, files: Sequence[Path], listing: Listing) -> Path:
    """Return the folder in which images lie as annotation files do in another.

    Raises:
        UserError: If an annotation file has no image.
    """
    known = {path.with_suffix('') for path in listing.images()}
    stems = [file.relative_to(top).with_suffix('').as_posix() for file in files]
    found = folders_with(set(stems), known)
    siblings = sorted({path.parent for path in listing.images()})
    siblings = [folder for folder in siblings if folder.parent == top.parent]
    place = max([top, *siblings, top.parent], key=lambda place: found[place])
    gone = [stem for stem in stems if place / stem not in known]
    if gone:
        raise UserError(
            f'{top}: {len(gone)} of {len(stems)} annotation files have no image of '
            f'their name in {place}: {first_of(gone)}'
        )
    return place


def find_yolo(listing: Listing) -> Splits:
    """YOLO: by ``data.yaml``, Darknet's lists, folders, or labels beside the images."""
    labels = _label_files(listing)
    if not labels:
        return {}
    root = listing.root
    beside = [file for file in listing.of('.yaml', '.yml') if file.parent == root]
    named = [file for file in beside if _names_splits(file)]
    if named:
        names = next((file for file in named if file.name in NAMES_FILES), named[0])
        own = {} if names.name in NAMES_FILES else {'ann_file': names.name}
        keys = {root / key: key for key in named_sources(names)[0]}
        return {
            split: dict(type='YoloDataset', split=keys[path], **own)
            for split, path in one_each(list(keys), listing).items()
        }
    if (root / DARKNET_NAMES).is_file():
        lists = [file for file in root.glob('*.txt') if file.stem in DARKNET_LISTS]
        return {
            split: dict(
                type='YoloDataset',
                ann_file=DARKNET_NAMES,
                data_prefix=dict(img=file.name),
            )
            for split, file in one_each(sorted(lists), listing).items()
        }
    folders = {
        folder: name
        for name, sources in split_sources(root)[0].items()
        for folder in sources
    }
    if folders:
        by_split = one_each(list(folders), listing)
        return {
            split: dict(
                type='YoloDataset', data_prefix=dict(img=listing.inside(folder))
            )
            for split, folder in by_split.items()
        }
    splits = {}
    for split, files in _by_folder(labels, listing).items():
        folder = listing.inside(_common(files))
        prefix = dict(img=folder, labels=folder)
        splits[split] = dict(type='YoloDataset', data_prefix=prefix)
    return splits


def _label_files(listing: Listing) -> list[Path]:
    """List the text files of folders whose first few hold boxes in YOLO's form."""
    folders: dict[Path, list[Path]] = {}
    for file in listing.of('.txt'):
        folders.setdefault(file.parent, []).append(file)
    found = []
    for files in folders.values():
        labels = [f for f in files if f.name not in NAMES_FILES and f.stat().st_size]
        if any(_starts_with(file, YOLO_LABEL) for file in labels[:5]):
            found += labels
    return sorted(found)


def _names_splits(file: Path) -> bool:
    """Whether a YAML file names classes, and images of a split."""
    try:
        content = read_yaml(file)
    except UserError:
        return False
    return isinstance(content, dict) and {'names', 'train'} <= content.keys()


def _starts_with(file: Path, pattern: re.Pattern[bytes]) -> bool:
    """Whether the beginning of a file, in any UTF, has a pattern."""
    with open(file, 'rb') as content:
        start = content.read(2048)
    return bool(pattern.search(start.replace(b'\0', b'')))


# -- Folders


def _by_folder(files: Iterable[Path], listing: Listing) -> dict[str, list[Path]]:
    """Group annotation files by the split that their folders name.

    Raises:
        UserError: If only some folders name one.
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(split_of(file.parent, listing.root), []).append(file)
    if len(found) > 1:
        one_each([here[0].parent for here in found.values()], listing)
    return found


def _common(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files]))


def _below(folder: Path, root: Path) -> str:
    return '' if folder == root else folder.relative_to(root).as_posix()


def _images_in(folder: Path, listing: Listing) -> dict[str, Any]:
    """Return the key of a folder of images, unless it is the root itself."""
    inside = _below(folder, listing.root)
    return dict(data_prefix=dict(img=inside)) if inside else {}


FORMATS: dict[str, tuple[str, Callable[[Listing], Splits]]] = {
    'coco': ('COCO JSON', find_coco),
    'voc': ('Pascal VOC XML', find_voc),
    'yolo': ('YOLO', find_yolo),
    'csv': ('a CSV table', find_csv),
    'labelme': ('LabelMe JSON', find_labelme),
    'label_studio': ('Label Studio JSON', find_label_studio),
}
"""By the name for the command line: what a reader calls it, and what looks for it."""
