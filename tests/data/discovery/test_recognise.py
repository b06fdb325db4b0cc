"""Folders as exporters write them: recognised, read, and what is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import pytest
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope

from mmfrcnn.data.discovery.json_kinds import json_kind
from mmfrcnn.data.discovery.layouts import FORMATS
from mmfrcnn.data.discovery.listing import split_of
from mmfrcnn.data.discovery.recognise import data_set, recognise
from mmfrcnn.errors import UserError

from .exports import (
    CLASSES,
    LAYOUTS,
    TRUTH,
    coco,
    coco_2017,
    coco_one_folder_of_images,
    labelme_in_one_folder,
    picture,
    voc_labelimg,
    write,
    yolo_beside_the_images,
    yolo_ultralytics,
)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


@pytest.mark.parametrize('name', LAYOUTS)
def test_every_layout_gives_the_same_boxes(tmp_path: Path, name: str) -> None:
    write_layout, kind, splits = LAYOUTS[name]
    write_layout(tmp_path)
    found = recognise(tmp_path)
    assert found.title == FORMATS[kind][0]
    assert found.classes == CLASSES
    assert found.unused == []
    assert set(found.splits) == set(splits)
    for split, names in splits.items():
        read = {
            picture.image.name: [(o.class_name, o.box) for o in picture.objects]
            for picture in found.pictures[split]
        }
        assert read == {name: TRUTH[name] for name in names}
        assert all(picture.image.is_file() for picture in found.pictures[split])
        # The data set that training builds has them as well.
        dataset = DATASETS.build(
            {
                **found.splits[split],
                'data_root': str(tmp_path),
                'metainfo': {'classes': tuple(found.classes)},
                'pipeline': [],
            }
        )
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        boxes = {
            Path(info['img_path']).name: [
                (CLASSES[one['bbox_label']], tuple(one['bbox']))
                for one in info['instances']
            ]
            for info in infos
        }
        assert boxes == {name: TRUTH[name] for name in names}


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_part_of_every_layout_can_be_listed(tmp_path: Path, name: str) -> None:
    root = tmp_path / 'data'
    LAYOUTS[name][0](root)
    found = recognise(root)
    split = next(iter(found.splits))
    *_, last = found.pictures[split]
    write(tmp_path / 'one.txt', last.title + '\n')
    config = {**found.splits[split], 'subset': '../one.txt'}
    names, pictures = data_set(config, root).read_chosen()
    assert names == CLASSES or not found.lists_classes
    assert [one.title for one in pictures] == [last.title]
    write(tmp_path / 'one.txt', 'nowhere.jpg\n')
    with pytest.raises(UserError, match=r'one\.txt: 1 of 1 .* not annotated: nowhere'):
        data_set(config, root).read_chosen()


# -- What is refused


def test_several_formats_are_named_and_one_may_be_chosen(tmp_path: Path) -> None:
    labelme_in_one_folder(tmp_path)
    yolo_beside_the_images(tmp_path)
    with pytest.raises(UserError, match=r'YOLO .yolo. and LabelMe JSON .labelme.'):
        recognise(tmp_path)
    assert recognise(tmp_path, 'labelme').title == 'LabelMe JSON'
    with pytest.raises(UserError, match='no annotations as Pascal VOC XML'):
        recognise(tmp_path, 'voc')


def test_images_alone_say_what_is_missing(tmp_path: Path) -> None:
    picture(tmp_path / 'deep/er/a.jpg')
    with pytest.raises(UserError, match=r'1 images and no annotations. Label them'):
        recognise(tmp_path)


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no images in it, and no annotations'):
        recognise(tmp_path)
    with pytest.raises(UserError, match='nowhere: not a folder: there is none'):
        recognise(tmp_path / 'nowhere')
    write(tmp_path / 'a.json', coco([]))
    with pytest.raises(UserError, match='not a folder: that is a file'):
        recognise(tmp_path / 'a.json')


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        (
            'via.json',
            '{"a.jpg1": {"regions": [{"shape_attributes": {"name": "rect"}}]}}',
            'VGG Image Annotator JSON is not read. Export as',
        ),
        (
            'createml.json',
            '[{"image": "a.jpg", "annotations": [{"label": "c", "coordinates": {}}]}]',
            'CreateML JSON is not read',
        ),
        (
            'cvat.xml',
            '<?xml version="1.0"?><annotations><image/></annotations>',
            'CVAT',
        ),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path, name, content, message) -> None:
    picture(tmp_path / 'a.jpg')
    write(tmp_path / name, content)
    with pytest.raises(UserError, match=message):
        recognise(tmp_path)


def test_two_files_of_one_split_are_named(tmp_path: Path) -> None:
    coco_2017(tmp_path)
    shutil.copy(
        tmp_path / 'annotations/instances_val2017.json', tmp_path / 'val_old.json'
    )
    with pytest.raises(UserError, match=r'instances_val2017\.json and .*val_old\.json'):
        recognise(tmp_path)


def test_a_file_without_a_split_beside_others_is_named(tmp_path: Path) -> None:
    coco_one_folder_of_images(tmp_path)
    shutil.copy(tmp_path / 'val.json', tmp_path / 'everything.json')
    with pytest.raises(UserError, match=r'everything\.json names no split'):
        recognise(tmp_path)


def test_missing_images_are_named(tmp_path: Path) -> None:
    coco_one_folder_of_images(tmp_path)
    (tmp_path / 'images/c.jpg').unlink()
    with pytest.raises(UserError, match=r'val\.json: 1 of its 2 images .* c\.jpg'):
        recognise(tmp_path)
    shutil.rmtree(tmp_path / 'images')
    with pytest.raises(UserError, match=r'none of its 2 images is below'):
        recognise(tmp_path)


def test_xml_without_its_image_is_named(tmp_path: Path) -> None:
    voc_labelimg(tmp_path)
    (tmp_path / 'b.jpg').unlink()
    with pytest.raises(UserError, match=r'1 of 4 annotation files have no image .* b'):
        recognise(tmp_path)


def test_other_classes_in_another_split_are_named(tmp_path: Path) -> None:
    coco_one_folder_of_images(tmp_path)
    content = coco(['c.jpg', 'd.jpg'])
    content['categories'].reverse()  # another order is no other list
    write(tmp_path / 'val.json', content)
    assert recognise(tmp_path).classes == CLASSES
    content['categories'].append({'id': 3, 'name': 'cow'})
    write(tmp_path / 'val.json', content)
    with pytest.raises(UserError, match='train and val list different classes'):
        recognise(tmp_path)


def test_images_that_nothing_annotates_are_listed(tmp_path: Path) -> None:
    labelme_in_one_folder(tmp_path)
    picture(tmp_path / 'new/z.jpg')
    assert recognise(tmp_path).unused == ['new/z.jpg']


def test_hidden_files_and_loops_of_links_are_passed_over(tmp_path: Path) -> None:
    yolo_ultralytics(tmp_path)
    coco_one_folder_of_images(tmp_path / '.cache')
    coco_one_folder_of_images(tmp_path / '__MACOSX')
    (tmp_path / 'images/self').symlink_to(tmp_path)
    assert recognise(tmp_path).title == 'YOLO'


def test_a_folder_may_be_a_link(tmp_path: Path) -> None:
    voc_labelimg(tmp_path / 'disk/pets')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/pets').symlink_to(tmp_path / 'disk/pets')
    found = recognise(tmp_path / 'data/pets')
    assert len(found.pictures['all']) == 4 and not found.unused
    write(tmp_path / 'data/one.txt', 'a\n')  # beside the link, not beside its end
    config = {**found.splits['all'], 'subset': '../one.txt'}
    assert len(data_set(config, tmp_path / 'data/pets').read_chosen()[1]) == 1


@pytest.mark.parametrize(
    ('path', 'split'),
    [
        ('train.json', 'train'),
        ('trainval.txt', 'train'),
        ('valid/_annotations.coco.json', 'val'),
        ('annotations/instances_val2017.json', 'val'),
        ('dev/x.json', 'val'),
        ('Validation-set.csv', 'val'),
        ('pets_TEST.csv', 'test'),
        ('train/test.json', 'test'),
        ('latest.json', 'all'),
        ('trains/contest.json', 'all'),
        ('device.json', 'all'),
    ],
)
def test_which_split_a_path_names(path: str, split: str) -> None:
    assert split_of(Path('train/pets', path), Path('train/pets')) == split


@pytest.mark.parametrize('content', [b'', b'\xff\xfe', b'[]', b'{}', b'nonsense', b'7'])
def test_json_of_no_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'a.json').write_bytes(content)
    assert json_kind(tmp_path / 'a.json') is None


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32-le'])
def test_json_in_any_utf(tmp_path: Path, encoding: str) -> None:
    coco_one_folder_of_images(tmp_path)
    file = tmp_path / 'train.json'
    file.write_bytes(file.read_text().encode(encoding))
    assert json_kind(file) == 'coco'
