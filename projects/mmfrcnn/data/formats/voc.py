"""Pascal VOC: XML files listed by name, with classes of one's own.

::

    ImageSets/Main/SPLIT.txt   Annotations/a.xml   JPEGImages/a.jpg   classes.txt

``classes.txt``, which need not be there, lists the classes in their order.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from mmdet.datasets import XMLDataset
from mmdet.registry import DATASETS

from mmfrcnn.data.formats.decimals import as_text, exact, plus
from mmfrcnn.data.formats.names import read_class_names, read_names
from mmfrcnn.data.formats.pictures import (
    LARGEST_SIDE,
    NO_SIDE,
    Object,
    Picture,
    PictureDataset,
    Split,
)
from mmfrcnn.data.formats.texts import one_line, read_file
from mmfrcnn.data.formats.writing import Images, stem, write_lines
from mmfrcnn.data.images import with_suffix
from mmfrcnn.errors import UserError, shown

ENCODING = re.compile(
    rb'(\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*["\']([\w.:-]+)["\'][^>]*?\?>'
)
UTF16_STARTS = {
    **{b'\xff\xfe': 'utf-16', b'\xfe\xff': 'utf-16'},
    **{b'<\0': 'utf-16-le', b'\0<': 'utf-16-be'},
}
SIDES = ('xmin', 'ymin', 'xmax', 'ymax')
DEFAULTS = ('', '0', 'Unspecified')


@DATASETS.register_module()
class VocXmlDataset(PictureDataset, XMLDataset):
    """Images and Pascal VOC XML files, listed by name in ``ann_file``.

    As mmdet's `XMLDataset`, and: boxes that cannot be used are left out by name (see
    `PictureDataset`), objects marked ``difficult`` are regions to ignore, coordinates
    keep their fractions, images may be of any common type, and a broken file is named.
    Without ``ann_file`` all XML files below the folder of annotations are meant; with
    ``ann_subdir=''`` and ``img_subdir=''`` they lie beside the images.
    Without ``metainfo`` the classes are those of ``classes.txt`` in the folder or,
    where there is none, those that occur, in alphabetical order.
    """

    def read(self) -> tuple[list[str], list[Picture]]:
        """Read the list of names and the XML file of each."""
        return read_voc_folder(
            Path(self.sub_data_root), self.ann_file, self.ann_subdir, self.img_subdir
        )


def read_voc_folder(
    root: Path,
    names_file: str | Path | None,
    annotations: str = 'Annotations',
    images: str = 'JPEGImages',
) -> tuple[list[str], list[Picture]]:
    """Read the XML files that a list names or, without a list, all.

    Returns:
        tuple[list[str], list[Picture]]: The classes, those of ``classes.txt`` or, where
        there is none, those that occur, sorted; and the images.

    Raises:
        UserError: If a file is missing or broken.
    """
    pictures = [
        replace(
            read_voc(root / annotations / f'{name}.xml'),
            title=name,
            image=with_suffix(root / images, name),
        )
        for name in (read_names(names_file) if names_file else _all(root / annotations))
    ]
    if (root / 'classes.txt').is_file():
        return read_class_names(root / 'classes.txt'), pictures
    found = {thing.class_name for picture in pictures for thing in picture.objects}
    return sorted(found), pictures


def _all(folder: Path) -> list[str]:
    """List the XML files below a folder by name.

    Raises:
        UserError: If there is none.
    """
    files = sorted(folder.rglob('*.xml'))
    if not files:
        raise UserError(f'{folder}: no XML file in it')
    return [file.relative_to(folder).with_suffix('').as_posix() for file in files]


# -- One file


def read_voc(path: str | Path) -> Picture:
    """Read one Pascal VOC XML file.

    The format counts pixels from 1. As mmdet does, 1 is taken from all four sides, so a
    box is ``xmax - xmin`` wide, and one with ``xmin == xmax`` has no area.

    Raises:
        UserError: If the file is missing or broken, or a part of it is.
    """
    path = Path(path)
    try:
        root = ElementTree.fromstring(_decoded(read_file(path)))
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such annotation file') from error
    except ElementTree.ParseError as error:
        raise UserError(f'{path}: broken XML ({error}). Is it cut off?') from error
    except (LookupError, ValueError) as error:
        raise UserError(f'{path}: its text cannot be decoded ({error})') from error
    width, height = (_side(root, key, path) for key in ('width', 'height'))
    picture = Picture(path.stem, width, height)
    for index, node in enumerate(root.findall('object'), 1):
        picture.objects.append(_object(node, f'object {index}', path))
    return picture


def _decoded(content: bytes) -> bytes | str:
    """Decode XML that Expat does not: of two bytes a letter, or wrongly declared.

    Expat knows no encoding like GBK, and believes a declaration that was not changed
    when the text was saved in UTF-16, or in UTF-8 instead of it.
    """
    for start, name in UTF16_STARTS.items():
        if content.startswith(start):
            return content.decode(name)
    named = ENCODING.match(content)
    if named is None:
        return content
    name = named[2].decode('ascii', 'replace').lower()
    name = 'gb18030' if name in ('gb2312', 'gbk') else name  # which has both in it
    if name.startswith(('utf', 'ucs', 'iso-10646')):
        name = 'utf-8'  # as the declaration is in single bytes
    return content[named.end() :].decode(name)


def _side(root: ElementTree.Element, key: str, path: Path) -> int:
    side = _number(root, f'size/{key}', path, 'the image')
    if 1 <= side <= LARGEST_SIDE:
        return int(side)
    raise UserError(f'{path}: <size/{key}> is {side:g}, {NO_SIDE}')


def _object(node: ElementTree.Element, what: str, path: Path) -> Object:
    name = one_line((node.findtext('name') or '').strip(), f'{path}: {what}')
    if not name:
        raise UserError(f'{path}: {what} has no <name>')
    sides = [_number(node, f'bndbox/{key}', path, what) for key in SIDES]
    written = ', '.join(f'{side:g}' for side in sides)
    # In decimals, so that what is written with a fraction is read without a residue.
    x1, y1, x2, y2 = (plus(side, -1.0) for side in sides)
    difficult = (node.findtext('difficult') or '0').strip() not in ('', '0')
    title = f'{path.stem}: {what}, {name} ({written})'
    extras = tuple(
        child.tag
        for child in node
        if child.tag not in ('name', 'bndbox', 'difficult')
        and (len(child) or (child.text or '').strip() not in DEFAULTS)
    )
    return Object(name, (x1, y1, x2, y2), title, ignored=difficult, extras=extras)


def _number(node: ElementTree.Element, key: str, path: Path, what: str) -> float:
    text = node.findtext(key)
    if text is None:
        raise UserError(f'{path}: {what} has no <{key}>')
    try:
        return float(text)
    except ValueError as error:
        raise UserError(
            f'{path}: {what}: <{key}> is {shown(text)}, no number'
        ) from error


# -- Splits of a folder


def voc_splits(source: Path) -> list[str]:
    """List ``ImageSets/Main``, without VOC's lists of one class (``cat_train``)."""
    stems = sorted(file.stem for file in (source / 'ImageSets/Main').glob('*.txt'))
    return [s for s in stems if '_' not in s or s.rpartition('_')[2] not in stems]


def read_voc_split(source: Path, name: str, image_dir: Path | None) -> Split:
    """Read one split of a folder.

    Raises:
        UserError: If a file is missing or broken.
    """
    classes, pictures = read_voc_folder(source, source / f'ImageSets/Main/{name}.txt')
    with_files = [
        replace(p, title=p.title + p.image.suffix) for p in pictures if p.image
    ]
    return Split(name, classes, with_files)


def write_voc(split: Split, root: Path, place: Images) -> None:
    """Write one split as XML files and a list of their names; pixels count from 1."""
    for picture in split.pictures:
        place(picture, root / 'JPEGImages' / picture.title)
        tree = ElementTree.ElementTree(_tree(picture))
        ElementTree.indent(tree)
        path = root / 'Annotations' / f'{stem(picture)}.xml'
        path.parent.mkdir(parents=True, exist_ok=True)
        tree.write(path, encoding='utf-8')
    names = [stem(picture) for picture in split.pictures]
    write_lines(root / 'ImageSets' / 'Main' / f'{split.name}.txt', names)
    write_lines(root / 'classes.txt', split.classes)


def _tree(picture: Picture) -> ElementTree.Element:
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = picture.title
    size = ElementTree.SubElement(root, 'size')
    for key, value in (('width', picture.width), ('height', picture.height)):
        ElementTree.SubElement(size, key).text = str(value)
    for found in picture.objects:
        node = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(node, 'name').text = found.class_name
        ElementTree.SubElement(node, 'difficult').text = str(int(found.ignored))
        box = ElementTree.SubElement(node, 'bndbox')
        for key, side in zip(SIDES, found.box, strict=True):
            ElementTree.SubElement(box, key).text = as_text(exact(side) + 1)
    return root
