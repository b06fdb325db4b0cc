"""A folder of images and one CSV table of boxes.

::

    filename,xmin,ymin,xmax,ymax,label
    a.jpg,48,240,195.5,371,cat
    a.jpg,8,12,352,498,dog
    b.jpg,,,,,

Corners are in pixels from the image's upper left corner; a row with empty fields is an
image without objects. Columns may have the names that exporters give them (`COLUMNS`)
and be in any order; further ones are passed over. A table without a first line of names
is read in the order above, as keras-retinanet writes it. Semicolons or tabs may stand
for the commas, and commas then for the points.
"""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

from mmdet.registry import DATASETS
from tqdm import tqdm

from mmfrcnn.data.formats.pictures import Object, Picture, PictureDataset
from mmfrcnn.data.formats.texts import one_line, read_text
from mmfrcnn.data.images import SUFFIXES, known_size
from mmfrcnn.errors import UserError, shown

SIDES = ('xmin', 'ymin', 'xmax', 'ymax')
COLUMNS = {
    'filename': ('filename', 'file_name', 'image', 'image_name', 'image_path', 'path'),
    'xmin': ('xmin', 'x_min', 'x1', 'left'),
    'ymin': ('ymin', 'y_min', 'y1', 'top'),
    'xmax': ('xmax', 'x_max', 'x2', 'right'),
    'ymax': ('ymax', 'y_max', 'y2', 'bottom'),
    'label': ('label', 'class', 'class_name', 'category', 'name'),
}
"""What a column may be called, in any case, the first that is there counting."""


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
    rows = read_rows(path)
    pictures: dict[str, Picture] = {}
    progress = tqdm(rows, f'reading {path}', delay=3, unit='row')
    for number, row in progress:
        where = f'{path}, line {number}'
        name = row['filename']
        if not name:
            raise UserError(f'{where}: no filename')
        one_line(name, where)
        if name not in pictures:
            size = known_size(images / name, where)
            pictures[name] = Picture(name, *size, image=images / name)
        found = _object(row, where, f'{name}: line {number}')
        if found:
            pictures[name].objects.append(found)
    labels = {thing.class_name for p in pictures.values() for thing in p.objects}
    return sorted(labels), list(pictures.values())


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read (line number, values by the keys of `COLUMNS`) of a table.

    Raises:
        UserError: If the file is missing or broken, or is no table of boxes.
    """
    try:
        file = StringIO(read_text(path), newline='')
        first = file.readline()
        file.seek(0)
        # Where a comma is the decimal sign, Excel writes semicolons.
        marks = [mark for mark in ';\t' if mark in first and (',' not in first)]
        marks = marks or [mark for mark in ';\t' if first.count(mark) >= 5]
        mark = (marks or [','])[0]
        reader = csv.reader(file, strict=True, delimiter=mark)
        lines = [(reader.line_num, fields) for fields in reader if fields]
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such annotation file') from error
    except csv.Error as error:
        raise UserError(f'{path}: broken CSV ({error})') from error
    names = [name.strip() for name in lines[0][1]] if lines else []
    places = _places(names, path)
    width = len(names)
    rows = []
    for number, fields in lines[0 if is_headless(names) else 1 :]:
        if len(fields) != width:
            raise UserError(f'{path}, line {number}: not as many fields as the header')
        row = {key: fields[place].strip() for key, place in places.items()}
        if mark != ',':
            row.update((side, row[side].replace(',', '.')) for side in SIDES)
        rows.append((number, row))
    return rows


def is_headless(fields: list[str]) -> bool:
    """Whether a first line is a box already: an image, four sides, a label."""
    if len(fields) != len(COLUMNS) or Path(fields[0]).suffix.lower() not in SUFFIXES:
        return False
    try:
        return [float(side.replace(',', '.') or 0) for side in fields[1:5]] != []
    except ValueError:
        return False


def _places(names: list[str], path: Path) -> dict[str, int]:
    """Return where each column of `COLUMNS` is in a table."""
    if is_headless(names):
        return {key: place for place, key in enumerate(COLUMNS)}
    lower = [name.lower() for name in names]
    places = {}
    for key, known in COLUMNS.items():
        there = [name for name in known if name in lower]
        if not there:
            raise UserError(
                f'{path}: no column {key!r}; the first line must be '
                f'{",".join(COLUMNS)}, and is {shown(",".join(names))}'
            )
        if lower.count(there[0]) > 1:
            raise UserError(f'{path}: two columns are named {there[0]!r}')
        places[key] = lower.index(there[0])
    return places


def _object(row: dict[str, str], where: str, title: str) -> Object | None:
    fields = [row[key] for key in (*SIDES, 'label')]
    if not any(fields):
        return None
    if not all(fields):
        empty = [key for key in (*SIDES, 'label') if not row[key]]
        raise UserError(f'{where}: {empty[0]} is empty, and others are not')
    try:
        x1, y1, x2, y2 = (float(side) for side in fields[:4])
    except ValueError as error:
        raise UserError(f'{where}: {error}') from error
    label = one_line(fields[4], where)
    written = ', '.join(fields[:4])
    return Object(label, (x1, y1, x2, y2), f'{title}, {label} ({written})')
