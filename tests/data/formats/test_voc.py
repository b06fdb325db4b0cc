"""Pascal VOC XML: coordinates, what is left out, and broken files."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from mmdet.datasets import XMLDataset
from mmengine.config import Config

from mmfrcnn.data.checks.unreadable import explain_data_error
from mmfrcnn.data.conversion import read_splits
from mmfrcnn.data.formats.voc import VocXmlDataset
from mmfrcnn.errors import UserError

BLOOD_CELLS = {'classes': ('RBC', 'WBC', 'Platelets')}


def test_leaves_out_by_name_and_keeps_fractions(make_voc):
    objects = [
        ('Cat', 1, 1, 40, 30),
        ('Dog', 2.5, 3, 9.25, 8),
        ('Cat', 7, 7, 7, 7),
        ('Dog', 41, 1, 60, 20),
        ('cow', 1, 1, 9, 9),
        ('Cat', 'nan', 1, 9, 9),
    ]
    dataset = VocXmlDataset(**make_voc(objects))
    boxes = [thing['bbox'] for thing in dataset[0]['instances']]
    assert boxes == [[0, 0, 39, 29], [1.5, 2, 8.25, 7]]
    titles = [found.title for found, _ in dataset.left_out]
    assert titles == [
        'a: object 3, Cat (7, 7, 7, 7)',
        'a: object 4, Dog (41, 1, 60, 20)',
        'a: object 5, cow (1, 1, 9, 9)',
        'a: object 6, Cat (nan, 1, 9, 9)',
    ]


def test_equals_mmdets_reader_on_real_data_but_for_two_boxes(real_data):
    config = {
        'data_root': str(real_data('bccd')),
        'ann_file': 'ImageSets/Main/trainval.txt',
        'data_prefix': {'sub_data_root': ''},
        'metainfo': BLOOD_CELLS,
        'pipeline': [],
    }
    ours, theirs = VocXmlDataset(**config), XMLDataset(**config)
    assert len(ours) == len(theirs) == 292
    for index in range(292):
        mine, other = ours.get_data_info(index), theirs.get_data_info(index)
        usable = [
            thing for thing in other['instances'] if thing['bbox'][0] < thing['bbox'][2]
        ]
        assert mine['instances'] == usable
        assert mine['img_path'] == other['img_path']
    names = [found.title.split(':')[0] for found, _ in ours.left_out]
    assert names == ['BloodImage_00338', 'BloodImage_00343']


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('</annotation>', '', 'broken XML'),
        ('<width>40</width>', '', 'the image has no <size/width>'),
        ('<width>40</width>', '<width>0</width>', '<size/width> is 0, and not the num'),
        (
            '<height>30</height>',
            '<height>nan</height>',
            '<size/height> is nan, and not',
        ),
        ('<xmin>1</xmin>', '', 'object 1 has no <bndbox/xmin>'),
        ('<xmin>1</xmin>', '<xmin>a</xmin>', "<bndbox/xmin> is 'a', no number"),
        ('<name>Cat</name>', '', 'object 1 has no <name>'),
    ],
)
def test_a_broken_file_is_named(make_voc, tmp_path, old, new, message):
    config = make_voc()
    path = tmp_path / 'Annotations' / 'a.xml'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError) as caught:
        VocXmlDataset(**config)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_missing_files_are_named(make_voc, tmp_path):
    config = make_voc()
    (tmp_path / 'Annotations' / 'a.xml').unlink()
    with pytest.raises(UserError, match=r'a\.xml: no such annotation file'):
        VocXmlDataset(**config)
    with pytest.raises(UserError, match=r'other\.txt: no such list'):
        VocXmlDataset(**(config | {'ann_file': 'other.txt'}))


def test_difficult_objects_are_ignored_and_other_image_types_found(make_voc, tmp_path):
    config = make_voc()
    path = tmp_path / 'Annotations' / 'a.xml'
    tree = ElementTree.parse(path)
    ElementTree.SubElement(tree.find('object'), 'difficult').text = '1'
    tree.write(path)
    image = tmp_path / 'JPEGImages' / 'a.jpg'
    image.rename(image.with_suffix('.png'))
    info = VocXmlDataset(**config).get_data_info(0)
    assert info['instances'][0]['ignore_flag'] == 1
    assert info['img_path'].endswith('a.png')


def test_a_list_with_a_byte_order_mark_and_crlf_is_read(make_voc, tmp_path):
    config = make_voc()
    (tmp_path / 'list.txt').write_bytes(b'\xef\xbb\xbfa\r\n')
    assert VocXmlDataset(**config)[0]['img_id'] == 'a'
    (tmp_path / 'list.txt').write_bytes(b'\xff\xfea')
    with pytest.raises(UserError, match=r'list\.txt: not text'):
        VocXmlDataset(**config)


@pytest.mark.parametrize(
    ('declared', 'codec', 'name'),
    [
        ('gb2312', 'gbk', '鎔'),  # of GBK alone, as Windows' tools write it
        ('GBK', 'gbk', '猫'),
        ('Big5', 'big5', '貓'),
        ('Shift_JIS', 'shift_jis', '猫'),
        ('EUC-KR', 'euc_kr', '고양이'),
        ('windows-1252', 'cp1252', 'Größe'),
        ('ISO-8859-1', 'latin1', 'é'),
        ('UTF-8', 'utf-8-sig', '猫'),
        ('UTF-16', 'utf-16', '猫'),
        ('UTF-16', 'utf-16-le', '猫'),
        ('UTF-16', 'utf-16-be', '猫'),
        ('utf-8', 'utf-16', '猫'),  # saved anew, declared as before
        ('utf-16', 'utf-8', '猫'),  # as .NET writes a text that it made in memory
    ],
)
def test_names_are_read_in_the_encoding_declared(
    make_voc, tmp_path, declared, codec, name
):
    config = make_voc([(name, 1, 1, 9, 9)], classes=(name,))
    path = tmp_path / 'Annotations' / 'a.xml'
    text = path.read_text(encoding='utf-8')
    text = f'<?xml version="1.0" encoding="{declared}"?>\n{text}'
    path.write_bytes(text.encode(codec))
    assert len(VocXmlDataset(**config)[0]['instances']) == 1


@pytest.mark.parametrize('declared', ['gb2312', 'no-such', 'hex', 'UTF-8'])
def test_text_that_cannot_be_decoded_is_named(make_voc, tmp_path, declared):
    config = make_voc()
    path = tmp_path / 'Annotations' / 'a.xml'
    head = f'<?xml version="1.0" encoding="{declared}"?>'.encode()
    path.write_bytes(head + path.read_bytes().replace(b'Cat', b'\xff\xff'))
    with pytest.raises(UserError) as caught:
        VocXmlDataset(**config)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ('declared', 'codec'), [('gb2312', 'gbk'), ('utf-8', 'utf-16'), ('utf-16', 'utf-8')]
)
def test_what_only_mmdets_reader_does_not_read_is_named(
    make_voc, tmp_path, declared, codec
):
    config = make_voc([('猫', 1, 1, 9, 9)], classes=('猫',))
    path = tmp_path / 'Annotations' / 'a.xml'
    run = Config({'train_dataloader': {'dataset': config | {'type': 'XMLDataset'}}})
    explain_data_error(run)
    text = path.read_text(encoding='utf-8')
    text = f'<?xml version="1.0" encoding="{declared}"?>\n{text}'
    path.write_bytes(text.encode(codec))
    with pytest.raises((ValueError, SyntaxError)):  # SyntaxError: ParseError
        XMLDataset(**config)
    with pytest.raises(UserError) as caught:
        explain_data_error(run)
    message = f"{path}: mmdet's XMLDataset does not read this encoding"
    assert message in str(caught.value)
    run.train_dataloader.dataset.type = 'VocXmlDataset'
    explain_data_error(run)


def test_splits_have_the_classes_of_all_of_them(make_voc, tmp_path):
    """A list of XML files shows only the classes that occur in it."""
    make_voc([('Cat', 1, 1, 9, 9)])
    for file in ('Annotations/a.xml', 'JPEGImages/a.jpg'):
        (tmp_path / file).rename(tmp_path / file.replace('/a.', '/b.'))
    make_voc([('Dog', 1, 1, 9, 9)])
    main = tmp_path / 'ImageSets/Main'
    main.mkdir(parents=True)
    (main / 'train.txt').write_text('a\n')
    (main / 'val.txt').write_text('b\n')
    splits = read_splits(tmp_path, 'voc', None)
    assert [(split.name, split.classes) for split in splits] == [
        ('train', ['Cat', 'Dog']),
        ('val', ['Cat', 'Dog']),
    ]
    names = [split.pictures[0].objects[0].class_name for split in splits]
    assert names == ['Dog', 'Cat']
