"""Conversion between COCO, VOC and YOLO: all six ways, hostile input, killed runs."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from mmfrcnn.data.conversion import FORMATS, convert, read_splits
from mmfrcnn.errors import UserError
from tests.tools import run_forked, run_tool

CLASSES = ['Großer Hund', 'cat & <dog>', 'never "seen"', 'b']
NAMES = ['a.jpg', 'b c.png', 'ü/ß 1.jpg', 'ü/e.v2.JPG', 'empty.jpg']


def random_coco(folder: Path, seed: int) -> Path:
    """Write a COCO set with every awkward thing that is not a mistake."""
    rng = random.Random(seed)
    images, annotations = [], []
    for index, name in enumerate(NAMES):
        width, height = rng.randint(1, 500), rng.randint(1, 400)
        path = folder / 'val' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', (width, height)).save(path)
        number = 7 * index + 3
        images.append(
            {'id': number, 'file_name': name, 'width': width, 'height': height}
        )
        for _ in range(0 if name == 'empty.jpg' else rng.randint(0, 6)):
            digits = rng.choice([0, 1, 2, 6, 12])
            low, high = rng.choice([(0, 1), (-0.5, 1.5)])  # inside, and anywhere
            x, y = (round(rng.uniform(low, high) * s, digits) for s in (width, height))
            size = [rng.choice([0, round(rng.uniform(0, 300), digits)]) for _ in 'wh']
            annotations.append(
                {
                    'id': 1000 - len(annotations),
                    'image_id': number,
                    'category_id': rng.choice([5, 90, 2]),
                    'bbox': [x, y, *size],
                    'area': size[0] * size[1],
                    'iscrowd': int(rng.random() < 0.2),
                }
            )
    categories = [
        {'id': number, 'name': name}
        for number, name in zip((5, 90, 13, 2), CLASSES, strict=True)
    ]
    content = {
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }
    path = folder / 'annotations' / 'instances_val.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
    return folder


def content(folder: Path, kind: str, crowds=True) -> tuple:
    """Classes and, for each image, size and (class, box, ignored) of its objects."""
    (split,) = read_splits(folder, kind, None)
    objects = {
        picture.title: (
            picture.width,
            picture.height,
            [
                (found.class_name, found.box, found.ignored)
                for found in picture.objects
                if crowds or not found.ignored
            ],
        )
        for picture in split.pictures
    }
    return split.name, split.classes, objects


def change(source: Path, target: Path, one: str, other: str, **more) -> str:
    return convert(source, target, source_format=one, target_format=other, **more)


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('middle', ['voc', 'yolo'])
@pytest.mark.parametrize('end', FORMATS)
def test_boxes_and_classes_survive_every_way(tmp_path, seed, middle, end):
    """From COCO through each other format to each, to the last digit."""
    coco = random_coco(tmp_path / 'coco', seed)
    before = content(coco, 'coco', crowds=middle != 'yolo' and end != 'yolo')
    change(coco, tmp_path / middle, 'coco', middle)
    if end == middle:
        assert content(tmp_path / middle, middle, crowds=True) == before
        return
    change(tmp_path / middle, tmp_path / 'end', middle, end)
    assert content(tmp_path / 'end', end) == before
    for name in NAMES:
        kept = next((tmp_path / 'end').rglob(Path(name).name))
        assert kept.read_bytes() == (coco / 'val' / name).read_bytes()


def test_six_decimals_of_yolo_come_back_as_they_were(tmp_path):
    """What other tools write is the same text after a round trip through COCO."""
    root = tmp_path / 'yolo'
    for folder in ('images/train', 'labels/train'):
        (root / folder).mkdir(parents=True)
    Image.new('L', (427, 333)).save(root / 'images/train/a.jpg')
    Image.new('L', (9, 7)).save(root / 'images/train/background.jpg')
    rng = random.Random(0)
    lines = [
        ' '.join(['0', *(f'{rng.random():.6f}'.rstrip('0') for _ in range(4))])
        for _ in range(50)
    ]
    (root / 'labels/train/a.txt').write_text('\n'.join(lines))
    (root / 'classes.txt').write_text('x\n')
    change(root, tmp_path / 'coco', 'yolo', 'coco')
    change(tmp_path / 'coco', tmp_path / 'again', 'coco', 'yolo')
    assert (tmp_path / 'again/labels/train/a.txt').read_text().split('\n')[:-1] == lines
    assert (tmp_path / 'again/labels/train/background.txt').read_text() == ''


def test_literal_coordinates_of_each_format(tmp_path):
    coco = tmp_path / 'pets.json'
    Image.new('L', (40, 20)).save(tmp_path / 'a.jpg')
    box = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [10, 5, 20.5, 10]}
    picture = {'id': 1, 'file_name': 'a.jpg', 'width': 40, 'height': 20}
    coco.write_text(
        json.dumps(
            {
                'images': [picture],
                'categories': [{'id': 1, 'name': 'cat'}],
                'annotations': [{**box, 'area': 205, 'iscrowd': 0}],
            }
        )
    )
    change(coco, tmp_path / 'voc', 'coco', 'voc')
    node = ElementTree.parse(tmp_path / 'voc/Annotations/a.xml').find('object/bndbox')
    assert [side.text for side in node] == ['11', '6', '31.5', '16']
    change(coco, tmp_path / 'yolo', 'coco', 'yolo')
    text = (tmp_path / 'yolo/labels/pets/a.txt').read_text()
    assert text == '0 0.50625 0.5 0.5125 0.5\n'
    assert 'pets: images/pets' in (tmp_path / 'yolo/data.yaml').read_text()
    assert (tmp_path / 'yolo/classes.txt').read_text() == 'cat\n'


def test_what_is_not_carried_over_is_counted(tmp_path):
    coco = random_coco(tmp_path / 'coco', 0)
    path = coco / 'annotations/instances_val.json'
    table = json.loads(path.read_text())
    entry = table['annotations'][0]
    entry.update(segmentation=[[0, 0, 1, 1, 2, 2]], area=1234, iscrowd=1, ignore=1)
    entry['bbox'][2] = 0
    path.write_text(json.dumps(table))
    crowds = sum(a['iscrowd'] for a in table['annotations'])
    report = change(coco, tmp_path / 'voc', 'coco', 'voc')
    assert f'marked crowd or difficult, now difficult: {crowds}' in report
    assert 'carried over as they are, no area' in report
    extras = 'segmentation 1, ignore 1, area (other than that of the box) 1'
    assert f'not carried over, of objects: {extras}' in report
    report = change(coco, tmp_path / 'yolo', 'coco', 'yolo')
    assert f'YOLO has no mark: {crowds}: annotation ' in report
    assert f'{len(table["annotations"]) - crowds} boxes of 4 classes' in report
    assert '5 images' in report


def edit(table: dict, where: str, **values) -> None:
    table[where][0].update(values)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda t: edit(t, 'annotations', category_id=77), "'category id 77' is not a"),
        (
            lambda t: edit(t, 'annotations', bbox=[0, 0, float('nan'), 1]),
            'not a number',
        ),
        (
            lambda t: edit(t, 'annotations', bbox=[0, 0, 1]),
            'annotations: id 1000: bbox',
        ),
        (
            lambda t: edit(t, 'annotations', bbox=['0', '0', '5', '5']),
            'annotations: id 1000: bbox',
        ),
        (lambda t: edit(t, 'annotations', id=999), 'two annotations have the id 999'),
        (lambda t: edit(t, 'annotations', image_id=8), 'no image with the id 8'),
        (lambda t: edit(t, 'images', id=10), 'two images have the id 10'),
        (
            lambda t: edit(t, 'images', file_name='b c.png'),
            'image b c.png is there twice',
        ),
        (lambda t: edit(t, 'images', file_name='../a.jpg'), 'no file name within'),
        (lambda t: edit(t, 'images', file_name='/a.jpg'), 'no file name within'),
        (lambda t: edit(t, 'images', file_name='a.txt'), 'no name of an image'),
        (lambda t: edit(t, 'images', file_name='z.jpg'), '1 of 5 images are missing'),
        (lambda t: edit(t, 'images', file_name='b c.jpg'), 'would have one annotation'),
        (lambda t: edit(t, 'images', width=0), 'id 3 (a.jpg): width is 0, and not'),
        (lambda t: edit(t, 'images', height=-1), 'height is -1, and not'),
        (lambda t: edit(t, 'categories', name='a\nb'), 'printable'),
        (lambda t: edit(t, 'categories', name=' a'), 'no space before'),
        (lambda t: t.pop('images'), "it has no list 'images'"),
    ],
)
def test_bad_coco_is_refused_by_name_and_nothing_written(tmp_path, spoil, message):
    coco = random_coco(tmp_path / 'coco', 1)
    path = coco / 'annotations/instances_val.json'
    table = json.loads(path.read_text())
    spoil(table)
    path.write_text(json.dumps(table))
    with pytest.raises(UserError) as caught:
        change(coco, tmp_path / 'voc', 'coco', 'voc')
    assert message in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ['coco']


def test_other_mistakes_are_refused(tmp_path):
    coco = random_coco(tmp_path / 'coco', 0)

    def refused(*args, **more) -> str:
        with pytest.raises(UserError) as caught:
            change(*args, **more)
        return str(caught.value)

    target = tmp_path / 'out'
    assert 'is coco already' in refused(coco, target, 'coco', 'coco')
    assert 'no such file or folder' in refused(tmp_path / 'x', target, 'coco', 'voc')
    assert 'no ImageSets/Main' in refused(coco, target, 'voc', 'coco')
    assert 'no folder images' in refused(coco, target, 'yolo', 'coco')
    message = refused(coco, target, 'coco', 'voc', splits=['vall'])
    assert "no split 'vall'. Did you mean 'val'? There are: val" in message
    target.mkdir()
    (target / 'mine').touch()
    assert 'exists already' in refused(coco, target, 'coco', 'voc')
    second = coco / 'annotations/instances_train.json'
    shutil.copy(coco / 'annotations/instances_val.json', second)
    shutil.copytree(coco / 'val', coco / 'train')
    message = refused(coco, tmp_path / 'o', 'coco', 'voc')
    assert 'a.jpg of train and a.jpg of val would have one annotation file' in message
    report = change(coco, tmp_path / 'o', 'coco', 'yolo')  # there, splits are apart
    assert 'train: 5 images' in report and 'val: 5 images' in report
    second.write_text(second.read_text().replace('"b"', '"c"'))
    assert 'have different classes' in refused(coco, tmp_path / 'p', 'coco', 'yolo')


def test_a_run_that_stops_leaves_nothing_that_looks_complete(tmp_path, monkeypatch):
    coco = random_coco(tmp_path / 'coco', 0)
    copied = []

    def stop(source, path):
        copied.append(path)
        if len(copied) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, 'copyfile', stop)
    with pytest.raises(KeyboardInterrupt):
        change(coco, tmp_path / 'voc', 'coco', 'voc')
    assert len(copied) == 3
    assert all('voc.unfinished-' in str(path) for path in copied)
    assert [entry.name for entry in tmp_path.iterdir()] == ['coco']


def tree(folder: Path) -> dict:
    return {
        str(path.relative_to(folder)): path.is_file() and path.read_bytes()
        for path in sorted(folder.rglob('*'))
    }


def test_nothing_that_is_there_is_changed(tmp_path):
    """A rerun, a foreign folder, a file, a link and what a killed run left."""
    coco = random_coco(tmp_path / 'coco', 0)
    change(coco, tmp_path / 'voc', 'coco', 'voc')
    for name in ('foreign', 'empty', f'stopped.unfinished-{os.getpid()}'):
        (tmp_path / name).mkdir()
    (tmp_path / 'foreign/mine.txt').write_text('x')
    (tmp_path / f'stopped.unfinished-{os.getpid()}/half.txt').write_text('x')
    (tmp_path / 'file').write_text('x')
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    before = tree(tmp_path)
    for name in ('voc', 'foreign', 'file', 'stopped', 'link', 'file/inside'):
        with pytest.raises(UserError) as caught:
            change(coco, tmp_path / name, 'coco', 'voc')
        assert str(tmp_path / name) in str(caught.value)
        assert tree(tmp_path) == before
    change(coco, tmp_path / 'empty', 'coco', 'voc')
    assert tree(tmp_path / 'empty') == tree(tmp_path / 'voc')


def test_a_killed_run_does_not_hinder_the_next(tmp_path, tmp_path_factory):
    coco = random_coco(tmp_path / 'coco', 0)
    code = (
        'import os, shutil, signal, sys\n'
        'from mmfrcnn.data.conversion import convert\n'
        'shutil.copyfile = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n'
        "convert(*sys.argv[1:], source_format='coco', target_format='voc')"
    )
    script = tmp_path_factory.mktemp('script') / 'killed.py'
    script.write_text(code)
    paths = [str(coco), str(tmp_path / 'voc')]
    killed = run_forked([str(script), *paths], tmp_path)
    assert killed.returncode == -signal.SIGKILL
    left = [path.name for path in tmp_path.iterdir() if path != coco]
    assert len(left) == 1 and left[0].startswith('voc.unfinished-')
    change(coco, tmp_path / 'voc', 'coco', 'voc')
    assert content(tmp_path / 'voc', 'voc') == content(coco, 'coco')
    assert (tmp_path / left[0]).is_dir()


def test_real_blood_cells_there_and_back(real_data, tmp_path):
    folder = real_data('bccd')
    options = {'splits': ['test'], 'images': 'link'}
    report = change(folder, tmp_path / 'coco', 'voc', 'coco', **options)
    assert '72 images' in report and 'truncated 235' in report
    change(tmp_path / 'coco', tmp_path / 'yolo', 'coco', 'yolo', images='link')
    change(tmp_path / 'yolo', tmp_path / 'voc', 'yolo', 'voc', images='link')
    for name in (folder / 'ImageSets/Main/test.txt').read_text().split():
        first, last = (
            [
                (node.findtext('name'), [side.text for side in node.find('bndbox')])
                for node in ElementTree.parse(path).iter('object')
            ]
            for path in (
                folder / f'Annotations/{name}.xml',
                tmp_path / f'voc/Annotations/{name}.xml',
            )
        )
        assert first == last


def test_the_tool_as_a_user_runs_it(tmp_path):
    coco = random_coco(tmp_path / 'coco', 0)

    def run(*args) -> subprocess.CompletedProcess:
        return run_tool('convert_dataset.py', *args)

    flags = ['--from', 'coco', '--to', 'voc', coco, tmp_path / 'voc']
    dry = run(*flags, '--dry-run')
    assert dry.returncode == 0 and 'nothing was written' in dry.stdout
    assert not (tmp_path / 'voc').exists()
    done = run(*flags)
    assert done.returncode == 0 and 'val: 5 images' in done.stdout
    assert content(tmp_path / 'voc', 'voc') == content(coco, 'coco')
    again = run(*flags)
    assert again.returncode == 2 and again.stderr.startswith('error: ')
    assert 'Traceback' not in again.stderr and 'exists already' in again.stderr
    shown = run('--help').stdout
    assert 'Examples:' in shown and f'{{{",".join(FORMATS)}}}' in shown


def test_annotated_sizes_are_compared_with_the_images(tmp_path):
    """A resized image, and one that its EXIF turns, would get wrong labels."""
    source = random_coco(tmp_path / 'coco', 0)
    path = source / 'val' / 'a.jpg'
    with Image.open(path) as image:
        width, height = image.size
    arguments = {'source_format': 'coco', 'target_format': 'yolo'}
    Image.new('L', (width * 2, height * 2)).save(path)
    with pytest.raises(UserError) as caught:
        convert(source, tmp_path / 'yolo', **arguments)
    size = f'{width * 2}x{height * 2} pixels, annotated as {width}x{height}'
    assert f'{path} ({size})' in str(caught.value)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new('L', (width, height)).save(path, exif=exif)
    with pytest.raises(UserError, match=r'a\.jpg .*EXIF orientation'):
        convert(source, tmp_path / 'yolo', **arguments)
    assert not (tmp_path / 'yolo').exists()


def test_what_only_groups_in_every_split_is_no_class(tmp_path):
    for split in ('train', 'val'):
        coco = random_coco(tmp_path / 'coco', 2)
        path = coco / 'annotations/instances_val.json'
        table = json.loads(path.read_text())
        table['categories'].insert(0, {'id': 0, 'name': 'all', 'supercategory': None})
        table['categories'][1]['supercategory'] = 'all'
        table['annotations'][0]['category_id'] = 5
        path.with_name(f'instances_{split}.json').write_text(json.dumps(table))
    shutil.copytree(coco / 'val', coco / 'train')
    for split in read_splits(coco, 'coco', None):
        assert split.classes == CLASSES
        assert "category 'all' has no annotations" in split.notes[0]
    path.write_text(path.read_text().replace('"category_id": 5', '"category_id": 0'))
    for split in read_splits(coco, 'coco', None):
        assert split.classes == ['all', *CLASSES]


def test_sizes_are_compared_where_no_image_is_written(tmp_path):
    coco = random_coco(tmp_path / 'coco', 0)
    options = {'images': 'none', 'dry_run': True}
    report = change(coco, tmp_path / 'voc', 'coco', 'voc', **options)
    assert 'not compared' not in report
    (coco / 'val/b c.png').unlink()
    report = change(coco, tmp_path / 'voc', 'coco', 'voc', **options)
    assert 'the sizes of 1 images were not compared with the files' in report
    assert str(coco / 'val/b c.png') in report
    Image.new('L', (3, 1000)).save(coco / 'val/a.jpg')
    with pytest.raises(UserError, match=r'a\.jpg \(3x1000 pixels, annotated as'):
        change(coco, tmp_path / 'voc', 'coco', 'voc', **options)
    with pytest.raises(UserError) as caught:
        change(coco, tmp_path / 'voc', 'coco', 'voc')
    assert 'name their folder with --image-dir' in str(caught.value)
    assert 'Annotate the images as they are now' in str(caught.value)
