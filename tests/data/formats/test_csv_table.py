"""CSV tables: boxes, what is refused, and by which name."""

from __future__ import annotations

import pytest
from PIL import Image

from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.data.formats.csv_table import CsvDataset
from mmfrcnn.errors import UserError

HEADER = 'filename,xmin,ymin,xmax,ymax,label\n'


@pytest.fixture
def make_csv(tmp_path):
    """Return a function that writes two 40x30 images and a table."""

    def make(table=HEADER + 'a.jpg,1,2,10.5,20,Cat\nb c.jpg,,,,,\n') -> dict:
        for name in ('a.jpg', 'b c.jpg'):
            Image.new('RGB', (40, 30)).save(tmp_path / name)
        (tmp_path / 'boxes.csv').write_text(table)
        return {'data_root': str(tmp_path), 'ann_file': 'boxes.csv', 'pipeline': []}

    return make


def instances(dataset) -> list:
    return [thing for i in range(len(dataset)) for thing in dataset[i]['instances']]


def test_reads_a_table_with_a_background_image(make_csv):
    dataset = CsvDataset(**make_csv())
    assert dataset.metainfo['classes'] == ('Cat',)
    assert instances(dataset) == [
        {'bbox': [1, 2, 10.5, 20], 'bbox_label': 0, 'ignore_flag': 0}
    ]
    assert 'images   2, of them 1 without' in check_dataset(dataset, 'train')


def test_a_table_may_be_in_any_order_and_quoted(make_csv):
    table = (
        '\ufefflabel,note,filename,xmin,ymin,xmax,ymax\n'
        '"Hund, groß",x,b c.jpg,1,2,3,4\nCat,,a.jpg,5,6,7,8\nCat,,b c.jpg,0,0,9,9\n'
    )
    dataset = CsvDataset(**make_csv(table))
    assert dataset.metainfo['classes'] == ('Cat', 'Hund, groß')
    assert [len(dataset[i]['instances']) for i in range(2)] == [2, 1]


@pytest.mark.parametrize(
    ('table', 'message'),
    [
        ('', "no column 'filename'"),
        ('filename,xmin,ymin,xmax,label\n', "no column 'ymax'"),
        (HEADER + 'a.jpg,1,2,3,Cat\n', 'line 2: not as many fields'),
        (HEADER + 'a.jpg,1,2,3,4,Cat,5\n', 'line 2: not as many fields'),
        (HEADER + 'a.jpg,1,2,3,,Cat\n', 'line 2: ymax is empty'),
        (HEADER + 'a.jpg,1,2,3,4,\n', 'line 2: label is empty'),
        (HEADER + 'a.jpg,1,2,3,4px,Cat\n', 'line 2: could not convert string to float'),
        (HEADER + ',1,2,3,4,Cat\n', 'line 2: no filename'),
        (HEADER + 'z.jpg,1,2,3,4,Cat\n', 'line 2: no such image'),
        (HEADER + '"a.jpg,1,2,3,4,Cat\n', 'broken CSV'),
    ],
)
def test_a_broken_table_is_named(make_csv, table, message):
    with pytest.raises(UserError, match=r'boxes\.csv') as caught:
        CsvDataset(**make_csv(table))
    assert message in str(caught.value)


def test_boxes_beyond_their_image_are_asked_about(make_csv):
    report = check_dataset(CsvDataset(**make_csv(HEADER + 'a.jpg,1,2,99,9,x')), 'train')
    assert 'Are they corners (xmin, ymin, xmax, ymax)' in report


@pytest.mark.parametrize('mark', [';', '\t', ', ', ' ,'])
def test_a_table_may_have_other_separators(make_csv, mark):
    table = (HEADER + 'a.jpg,1,2,10.5,20,Cat\n').replace(',', mark)
    assert instances(CsvDataset(**make_csv(table))) == [
        {'bbox': [1, 2, 10.5, 20], 'bbox_label': 0, 'ignore_flag': 0}
    ]


def test_a_table_in_another_encoding_is_named(make_csv, tmp_path):
    config = make_csv()
    (tmp_path / 'boxes.csv').write_text(HEADER, encoding='utf-16')
    with pytest.raises(UserError, match=r'boxes\.csv: not text in UTF-8'):
        CsvDataset(**config)


@pytest.mark.parametrize(
    'table',
    [
        'image,x1,y1,x2,y2,class\na.jpg,1,2,10.5,20,Cat\n',
        'Class,Image_Path,XMin,YMin,XMax,YMax,width\nCat,a.jpg,1,2,10.5,20,40\n',
        'a.jpg,1,2,10.5,20,Cat\nb c.jpg,,,,,\n',
        'filename;xmin;ymin;xmax;ymax;label\na.jpg;1,0;2;10,5;20;Cat\n',
        'a.jpg;1;2;10,5;20;Cat\n',
    ],
)
def test_tables_of_exporters(make_csv, table):
    dataset = CsvDataset(**make_csv(table))
    assert instances(dataset) == [
        {'bbox': [1, 2, 10.5, 20], 'bbox_label': 0, 'ignore_flag': 0}
    ]
    assert dataset.metainfo['classes'] == ('Cat',)


def test_two_columns_of_one_name_are_refused(make_csv):
    with pytest.raises(UserError, match="two columns are named 'label'"):
        CsvDataset(**make_csv(HEADER.strip() + ',Label\na.jpg,1,2,3,4,Cat,Dog\n'))
