"""A folder of images and one CSV table of boxes.

::

    filename,xmin,ymin,xmax,ymax,label
    a.jpg,48,240,195.5,371,cat
    a.jpg,8,12,352,498,dog
    b.jpg,,,,,

Corners are in pixels from the image's upper left corner; a row with empty fields is an
image without objects. Further columns are passed over. Semicolons or tabs may stand for
the commas.
"""

from __future__ import annotations

import csv
from pathlib import Path

from mmdet.registry import DATASETS
from tqdm import tqdm

from mmfrcnn.data.formats.pictures import Object, Picture, PictureDataset
from mmfrcnn.data.images import known_size
from mmfrcnn.errors import UserError

SIDES = ('xmin', 'ymin', 'xmax', 'ymax')
COLUMNS = ('filename', *SIDES, 'label')


@DATASETS.register_module()
class CsvDataset(PictureDataset):
    """Images with their boxes in one CSV table, ``ann_file``.

    Args:
        kwargs: `PictureDataset`'s arguments; ``data_prefix=dict(img=...)`` is the
            folder that the file names are relative to. Without ``metainfo`` the classes
            are the labels that occur, in alphabetical order.
    """

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the table, and the sizes of the images."""
        return read_csv(
            Path(self.ann_file), Path(self.data_prefix.get('img') or self.data_root)
        )


def read_csv(path: Path, images: Path) -> tuple[list[str], list[Picture]]:
    """Read a table of boxes.

    Returns:
        tuple[list[str], list[Picture]]: The labels that occur, sorted, and the images
        in the order of their first rows.

    Raises:
        UserError: If the file or an image is missing or broken, or a row is.
    """
    rows = _rows(path)
    pictures: dict[str, Picture] = {}
    progress = tqdm(rows, f'reading {path}', delay=3, unit='row')
    for number, row in progress:
        where = f'{path}, line {number}'
        name = row['filename'].strip()
        if not name:
            raise UserError(f'{where}: no filename')
        if name not in pictures:
            size = known_size(images / name, where)
            pictures[name] = Picture(name, *size, image=images / name)
        found = _object(row, where, f'{name}: line {number}')
        if found:
            pictures[name].objects.append(found)
    labels = {thing.class_name for p in pictures.values() for thing in p.objects}
    return sorted(labels), list(pictures.values())


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read (line number, row) of a table whose first line names the columns."""
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            header = file.readline()
            file.seek(0)
            # Where a comma is the decimal sign, Excel writes semicolons.
            marks = [mark for mark in ';\t' if mark in header and ',' not in header]
            reader = csv.DictReader(file, strict=True, delimiter=(marks or [','])[0])
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            absent = [key for key in COLUMNS if key not in (reader.fieldnames or ())]
            if absent:
                raise UserError(
                    f'{path}: no column {absent[0]!r}; the first line must be '
                    f'{",".join(COLUMNS)}, and is {",".join(reader.fieldnames or ())}'
                )
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such annotation file') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not text in UTF-8 ({error})') from error
    except csv.Error as error:
        raise UserError(f'{path}: broken CSV ({error})') from error
    for number, row in rows:
        if None in row or None in row.values():
            raise UserError(f'{path}, line {number}: not as many fields as the header')
    return rows


def _object(row: dict[str, str], where: str, title: str) -> Object | None:
    fields = [row[key].strip() for key in (*SIDES, 'label')]
    if not any(fields):
        return None
    if not all(fields):
        empty = [key for key in (*SIDES, 'label') if not row[key].strip()]
        raise UserError(f'{where}: {empty[0]} is empty, and others are not')
    try:
        x1, y1, x2, y2 = (float(side) for side in fields[:4])
    except ValueError as error:
        raise UserError(f'{where}: {error}') from error
    label = fields[4]
    written = ', '.join(fields[:4])
    return Object(label, (x1, y1, x2, y2), f'{title}, {label} ({written})')
