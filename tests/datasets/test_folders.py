"""YOLO folders and CSV tables: boxes, what is refused, and by which name."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
import yaml
from PIL import Image

from mmfrcnn.datasets import CsvDataset, YoloDataset, check_dataset
from mmfrcnn.datasets.conversion import convert, read_splits
from mmfrcnn.datasets.yolo import to_pixels
from mmfrcnn.errors import UserError

HEADER = 'filename,xmin,ymin,xmax,ymax,label\n'


@pytest.fixture
def make_yolo(tmp_path):
    """Return a function that writes three 40x30 images, two of them with labels."""

    def make(lines='0 0.5 0.5 0.25 1\n', names='names: [Cat, "Großer Hund"]') -> dict:
        for folder in ('images/train/sub dir', 'labels/train/sub dir'):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in ('a.jpg', 'b.PNG', 'sub dir/ü c.jpg'):
            Image.new('RGB', (40, 30)).save(tmp_path / 'images/train' / name)
        (tmp_path / 'labels/train/a.txt').write_text(lines)
        (tmp_path / 'labels/train/sub dir/ü c.txt').write_text('1 0.1 0.1 0.2 0.2\n\n')
        (tmp_path / 'data.yaml').write_text(names)
        prefix = {'img': 'images/train'}
        return {'data_root': str(tmp_path), 'data_prefix': prefix, 'pipeline': []}

    return make


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


def test_reads_yolo_with_classes_from_the_folder_and_background_images(make_yolo):
    dataset = YoloDataset(**make_yolo())
    assert dataset.metainfo['classes'] == ('Cat', 'Großer Hund')
    assert [dataset[i]['img_id'] for i in range(3)] == [
        'a.jpg',
        'b.PNG',
        'sub dir/ü c.jpg',
    ]
    assert instances(dataset) == [
        {'bbox': [15, 0, 25, 30], 'bbox_label': 0, 'ignore_flag': 0},
        {'bbox': [0, 0, 8, 6], 'bbox_label': 1, 'ignore_flag': 0},
    ]
    report = check_dataset(dataset, 'train')
    assert 'images   3, of them 1 without objects' in report
    assert 'boxes    2: Cat 1, Großer Hund 1' in report


def test_background_images_can_be_dropped(make_yolo):
    config = make_yolo() | {'filter_cfg': {'filter_empty_gt': True}}
    dataset = YoloDataset(**config)
    assert len(dataset) == 2
    assert '1 of all dropped' in check_dataset(dataset, 'train')
    assert len(YoloDataset(**config, test_mode=True)) == 3


def test_yolo_boxes_are_the_floats_to_the_last_digit():
    rng = np.random.default_rng(0)
    for _ in range(200):
        width, height = rng.integers(1, 5000, 2).tolist()
        relative = rng.uniform(-0.2, 1.2, 4)
        box = to_pixels([Decimal(repr(v)) for v in relative.tolist()], width, height)
        centre, size = relative[:2], relative[2:]
        corners = np.concatenate([centre - size / 2, centre + size / 2])
        expected = corners * [width, height, width, height]
        np.testing.assert_allclose(box, expected, atol=1e-9)


def test_boxes_without_area_or_outside_are_left_out_by_name(make_yolo):
    lines = '0 .5 .5 .1 .1\n0 .5 .5 0 .1\n1 2 .5 .1 .1\n1 nan .5 .1 .1\n'
    dataset = YoloDataset(**make_yolo(lines))
    assert len(instances(dataset)) == 2
    report = check_dataset(dataset, 'train')
    assert '1 no area' in report and 'a.jpg: line 2, Cat' in report
    assert 'outside the image: a.jpg: line 3' in report
    assert 'not a number: a.jpg: line 4' in report


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('2 .5 .5 .1 .1', "class '2', but the classes are 0 to 1: Cat, Großer Hund"),
        ('-1 .5 .5 .1 .1', "class '-1'"),
        ('Cat .5 .5 .1 .1', "class 'Cat'"),
        ('0 .5 .5 .1', '4 values'),
        ('0 .5 .5 .1 .1 .9', '6 values a score?'),
        ('0 .1 .1 .2 .1 .2 .2 .3', '8 values'),
        ('0 .5 x .1 .1', 'not all numbers'),
    ],
)
def test_a_broken_yolo_line_is_named(make_yolo, line, message):
    with pytest.raises(UserError) as caught:
        YoloDataset(**make_yolo('0 .5 .5 .1 .1\n' + line))
    assert 'labels/train/a.txt, line 2: ' in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        ('nc: 2', 'no "names"'),
        ('names: [Cat', 'no "names"'),
        ('names: {0: Cat, 2: Dog}', 'names has no 1; it must count 0, 1, 2'),
        ('names: [Cat, ~]', 'class 1 reads as None'),
        ('names: Cat', 'no "names"'),
        ('names: [Cat, Cat]', "two classes are named 'Cat'"),
        ('names: {1: Cat, 2: Dog}', 'names begins at 1; it must begin at 0'),
        ('names: [no, yes]', 'takes no, yes'),
        ('names: []', 'class 0 has no name'),
    ],
)
def test_broken_class_names_are_named(make_yolo, names, message):
    with pytest.raises(UserError, match=r'data\.yaml: ') as caught:
        YoloDataset(**make_yolo(names=names))
    assert message in str(caught.value)


def test_other_mistakes_in_a_yolo_folder_are_named(make_yolo, tmp_path):
    config = make_yolo()

    def refused(**changes) -> str:
        with pytest.raises(UserError) as caught:
            YoloDataset(**(config | changes))
        return str(caught.value)

    orphan = tmp_path / 'labels/train/z.txt'
    orphan.write_text('0 .5 .5 .1 .1')
    assert f'{orphan}: there is no image of this name' in refused()
    orphan.unlink()
    assert 'no such folder of images' in refused(data_prefix={'img': 'images/none'})
    assert 'no folder "images"' in refused(data_prefix={'img': 'labels/train'})
    (tmp_path / 'images/train/a.png').write_bytes(
        (tmp_path / 'images/train/b.PNG').read_bytes()
    )
    assert 'a.txt would belong to' in refused()
    (tmp_path / 'images/train/a.png').unlink()
    (tmp_path / 'images/train/a.jpg').write_bytes(b'no image')
    assert 'a.txt: broken image' in refused()
    (tmp_path / 'data.yaml').unlink()
    assert 'no class names. Write them into data.yaml' in refused()


def test_a_polygon_stands_for_its_bounding_box(make_yolo):
    dataset = YoloDataset(**make_yolo('0 .5 .5 .25 1\n0 .25 .1 .5 .2 .75 .9 .5 .3\n'))
    assert [thing['bbox'] for thing in instances(dataset)[:2]] == [
        [15, 0, 25, 30],
        [10, 3, 30, 27],
    ]
    assert '1 polygon' in check_dataset(dataset, 'train')


def test_notes_among_the_labels_are_no_labels(make_yolo, tmp_path):
    config = make_yolo()
    for name in ('README.dataset.txt', 'README.roboflow.txt', 'notes.json'):
        (tmp_path / 'labels/train' / name).write_text('Pets, 3 images\n\nCC BY 4.0\n')
    assert len(YoloDataset(**config)) == 3


def test_classes_txt_serves_as_well(make_yolo, tmp_path):
    config = make_yolo()
    (tmp_path / 'data.yaml').unlink()
    (tmp_path / 'labels/train/classes.txt').write_text('Cat\nGroßer Hund\n')
    assert YoloDataset(**config).metainfo['classes'] == ('Cat', 'Großer Hund')


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


def test_of_a_polygon_among_boxes_the_bounding_box_is_taken(make_yolo):
    lines = '0 .1 .1 .4 .1 .3 .5\n0 .5 .5 .25 1\n'
    boxes = [thing['bbox'] for thing in instances(YoloDataset(**make_yolo(lines)))]
    assert boxes[:2] == [[4, 3, 16, 15], [15, 0, 25, 30]]  # of 40x30 pixels


@pytest.fixture
def make_split(tmp_path):
    """Return a function that names the training images, three in two folders."""

    def make(train, lines=(), encoding='utf-8', **more) -> YoloDataset:
        names = ('images/one/a.png', 'images/one/b.png', 'images/two/c.png')
        for number, name in enumerate(names):
            path = tmp_path / 'pets' / name
            label = tmp_path / 'pets' / name.replace('images', 'labels')
            path.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (40, 30)).save(path)
            label.with_suffix('.txt').write_text(f'{number} .5 .5 .5 .5')
        content = {'names': ['x', 'y', 'z'], 'train': train, **more}
        (tmp_path / 'pets/data.yaml').write_text(yaml.safe_dump(content))
        text = '\n'.join(lines).format(root=tmp_path)
        (tmp_path / 'pets/train.txt').write_text(text, encoding=encoding)
        return YoloDataset(data_root=str(tmp_path / 'pets'), split='train', pipeline=[])

    return make


def held(dataset) -> list:
    """Name and label of the one object of each image."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    return [(i['img_id'], *(t['bbox_label'] for t in i['instances'])) for i in infos]


ALL_THREE = [('one/a.png', 0), ('one/b.png', 1), ('two/c.png', 2)]


@pytest.mark.parametrize(
    'train',
    [
        'images',
        ['images/one', 'images/two'],
        './images',
        '..\\pets\\images',
    ],
)
def test_a_split_of_folders(make_split, train):
    assert held(make_split(train)) == ALL_THREE
    assert held(make_split(train, path='/another/machine/pets')) == ALL_THREE


def test_what_a_split_names_is_below_its_path(make_split):
    assert held(make_split('one', path='images')) == [('a.png', 0), ('b.png', 1)]


@pytest.mark.parametrize(
    'written',
    [
        './images/{}',
        'images/{}',
        '{{root}}/pets/images/{}',
        '.\\images\\{}',
        'data/images/{}',  # as Darknet is run from the folder above
        '../pets/images/{}',
    ],
)
def test_a_split_that_is_a_list(make_split, tmp_path, written):
    lines = [written.format(name) for name, _ in ALL_THREE]
    dataset = make_split('train.txt', [*lines, ''], encoding='utf-8-sig')
    assert held(dataset) == ALL_THREE
    (tmp_path / 'pets/other.txt').write_text('./images/two/c.png')
    both = make_split(['other.txt', 'train.txt'], lines[:2])
    assert held(both) == [ALL_THREE[2], *ALL_THREE[:2]]
    prefix = {'img': 'other.txt'}
    root = str(tmp_path / 'pets')
    alone = YoloDataset(data_root=root, data_prefix=prefix, pipeline=[])
    assert held(alone) == [('c.png', 2)]
    prefix['labels'] = 'labels'
    with pytest.raises(UserError, match='Leave labels out of data_prefix'):
        YoloDataset(data_root=root, data_prefix=prefix, pipeline=[])
    with pytest.raises(UserError, match='both say which images'):
        YoloDataset(data_root=root, data_prefix=prefix, split='train', pipeline=[])


def test_labels_of_listed_images_may_be_beside_them(make_split, tmp_path):
    lines = ['obj_train_data/a.png']
    folder = tmp_path / 'pets/obj_train_data'  # as CVAT writes it
    folder.mkdir(parents=True)
    Image.new('RGB', (40, 30)).save(folder / 'a.png')
    (folder / 'a.txt').write_text('2 .5 .5 .5 .5')
    assert held(make_split('train.txt', lines)) == [('a.png', 2)]
    assert held(make_split('obj_train_data')) == [('a.png', 2)]


@pytest.mark.parametrize('root', ['.', '..'])
def test_images_that_are_listed_again_are_said(make_split, tmp_path, monkeypatch, root):
    """Relative or not, and with a relative data_root."""
    lines = [
        'images/one/a.png',
        '{root}/pets/images/one/b.png',
        'images/../images/one/a.png',
    ]
    make_split(['train.txt', 'images/one'], lines)
    monkeypatch.chdir(tmp_path if root == '.' else tmp_path / 'pets/images')
    root = 'pets' if root == '.' else '../../pets'
    dataset = YoloDataset(data_root=root, split='train', pipeline=[])
    assert held(dataset) == [('a.png', 0), ('b.png', 1)]
    report = check_dataset(dataset, 'train')
    assert 'note     3 images are listed again, and taken once: ' in report
    assert 'images/one/a.png' in report


@pytest.mark.parametrize(
    ('train', 'lines', 'message'),
    [
        ('train.txt', [], 'train.txt: the list of images is empty'),
        ('train.txt', [' ', ''], 'train.txt: the list of images is empty'),
        ('train.txt', ['images/one/a.png', 'x.png'], '1 of 2 images in it are missing'),
        ('train.txt', ['C:\\x\\a.png'], r'missing: C:\x\a.png. Its paths are'),
        ('nowhere', [], 'data.yaml: train: nowhere: no such folder or list'),
        (
            ['images/one', 'images/no'],
            [],
            'data.yaml: train: no such folder or list: i',
        ),
        ([], [], "data.yaml: it names no split 'train'. It has none"),
        (None, [], "data.yaml: it names no split 'train'. It has none"),
        (3, [], "data.yaml: it names no split 'train'. It has none"),
    ],
)
def test_a_split_that_cannot_be_read_is_named(make_split, train, lines, message):
    with pytest.raises(UserError) as caught:
        make_split(train, lines)
    assert message in str(caught.value)


def test_a_list_in_another_encoding_is_named(make_split):
    with pytest.raises(UserError, match=r'train\.txt: not text in UTF-8'):
        make_split('train.txt', ['images/one/a.png'], encoding='utf-16')


def test_splits_are_converted_as_data_yaml_names_them(make_split, tmp_path):
    make_split('train.txt', ['./images/one/a.png', './images/two/c.png'])
    more = {'val': ['images/one', 'images/two'], 'test': '../test/images'}
    make_split('train.txt', ['./images/one/a.png', './images/two/c.png'], **more)
    options = {'source_format': 'yolo', 'target_format': 'coco'}
    report = convert(tmp_path / 'pets', tmp_path / 'coco', **options)
    assert 'train: 2 images' in report and 'val: 3 images' in report
    note = 'note: data.yaml names test: ../test/images, which is not there: left out'
    assert note in report
    (train, val) = read_splits(tmp_path / 'coco', 'coco', None)
    assert [picture.title for picture in val.pictures] == [n for n, _ in ALL_THREE]
    labels = [picture.objects[0].class_name for picture in train.pictures]
    assert labels == ['x', 'z']


def test_folders_that_data_yaml_does_not_name_are_splits_as_well(make_split, tmp_path):
    make_split('images/one')
    names = [split.name for split in read_splits(tmp_path / 'pets', 'yolo', None)]
    assert names == ['train', 'two']
    make_split('images')
    names = [split.name for split in read_splits(tmp_path / 'pets', 'yolo', None)]
    assert names == ['train']
