"""Which images a split of YOLO's format has: folders, lists, and what is refused."""

from __future__ import annotations

import pytest
import yaml
from PIL import Image

from mmfrcnn.data.checks.preflight import check_dataset
from mmfrcnn.data.conversion import convert, read_splits
from mmfrcnn.data.formats.yolo.dataset import YoloDataset
from mmfrcnn.errors import UserError


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
    plain = YoloDataset(data_root=root, data_prefix=None, split='train', pipeline=[])
    assert held(plain) == held(both)
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


def test_roboflows_yolo_layout_is_read_by_its_yaml(tmp_path):
    root = tmp_path / 'export'
    for split in ('train', 'valid'):
        for folder in ('images', 'labels'):
            (root / split / folder).mkdir(parents=True)
        Image.new('L', (40, 20)).save(root / split / f'images/{split}.png')
        (root / split / f'labels/{split}.txt').write_text('1 .5 .5 .5 .5\n')
    text = 'train: ../train/images\nval: ../valid/images\ntest: ../test/images\n'
    (root / 'data.yaml').write_text(text + 'nc: 2\nnames: [cat, dog]\n')
    # A folder of this name beside the export is another data set.
    (tmp_path / 'train/images').mkdir(parents=True)
    splits = read_splits(root, 'yolo', None)
    assert [(split.name, split.classes) for split in splits] == [
        ('train', ['cat', 'dog']),
        ('val', ['cat', 'dog']),
    ]
    for split, title in zip(splits, ('train.png', 'valid.png'), strict=True):
        (picture,) = split.pictures
        assert (picture.title, picture.objects[0].box) == (title, (10, 5, 30, 15))
    text = text.replace('../', '') + 'path: /other/machine/pets\nnames: [cat, dog]\n'
    (root / 'data.yaml').write_text(text)
    assert len(read_splits(root, 'yolo', None)) == 2
    (root / 'data.yaml').write_text('names: [cat, dog]\n')
    names = [split.name for split in read_splits(root, 'yolo', None)]
    assert names == ['train', 'valid']
