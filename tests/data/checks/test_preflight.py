"""The report before a run: what it counts, names and refuses."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset, XMLDataset
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from PIL import Image

from mmfrcnn.data.checks.preflight import check_dataset, plain_datasets
from mmfrcnn.data.checks.unreadable import explain_data_error
from mmfrcnn.data.formats.voc import VocXmlDataset
from mmfrcnn.errors import UserError


def refusal(dataset, split='train') -> str:
    with pytest.raises(UserError) as caught:
        check_dataset(dataset, split)
    return str(caught.value)


def test_counts_and_names_what_mmdet_leaves_out_of_coco(make_coco):
    boxes = [
        (1, 5, 5, 10, 10),
        (2, 0, 0, 40, 30),
        (2, 0, 0, 8, 8),
        (1, 3, 3, 0, 5),  # no width
        (1, 9, 9, -4, 5),  # negative width
        (1, 50, 5, 10, 10),  # outside
        (1, 5, 5, 0.5, 10),  # narrower than a pixel
        (9, 5, 5, 10, 10),  # a category that the file does not define
    ]
    config = make_coco(boxes)
    dataset = CocoDataset(**config)
    report = check_dataset(dataset, 'train')
    assert 'images   2, of them 1 without objects' in report
    assert 'boxes    3: Dog 2, Cat 1' in report
    assert 'left out 2 no area' in report
    assert 'annotation 4 in 1.jpg, Cat [3, 3, 0, 5]' in report
    assert 'left out 1 outside the image: annotation 6' in report
    assert 'left out 1 narrower than one pixel: annotation 7' in report
    assert 'category id 9 1' in report
    # The report's count is what mmdet hands to training.
    assert len(dataset[0]['instances']) == 3


def test_counts_what_is_not_a_number(make_coco):
    config = make_coco([(1, 5, 5, 9, 9), (1, 5, 5, 7, 7)])
    path = Path(config['ann_file'])
    path.write_text(path.read_text().replace('[5, 5, 7, 7]', '[5, 5, NaN, 7]'))
    report = check_dataset(CocoDataset(**config), 'train')
    assert 'boxes    1' in report
    assert 'left out 1 not a number: annotation 2' in report


def test_report_agrees_with_the_training_set_on_real_coco(real_data):
    folder = real_data('coco_tiny50')
    for split in ('train', 'val'):
        dataset = CocoDataset(
            ann_file=str(folder / f'annotations/instances_{split}2017.json'),
            data_prefix={'img': str(folder / f'{split}2017')},
            test_mode=split == 'val',
            pipeline=[],
        )
        report = check_dataset(dataset, split)
        flags = [
            thing['ignore_flag']
            for index in range(len(dataset))
            for thing in dataset.get_data_info(index)['instances']
        ]
        assert f'boxes    {flags.count(0)}:' in report
        assert f'ignored  {flags.count(1)} marked' in report
        empty = {'train': 1, 'val': 2}[split]
        assert f'images   50, of them {empty} without objects' in report


def test_crowds_are_no_boxes(make_coco):
    message = refusal(CocoDataset(**make_coco(iscrowd=1)))
    assert 'nothing to train on' in message and 'ignored  1' in message


def test_a_class_of_another_spelling_is_refused(make_coco):
    config = make_coco() | {'metainfo': {'classes': ('cat', 'Dog')}}
    message = refusal(CocoDataset(**config), 'val')
    assert "'cat' is not a category of" in message
    assert "Did you mean 'Cat'?" in message
    assert 'val_dataloader.dataset.metainfo.classes' in message


def test_forgotten_metainfo_is_refused(make_coco):
    config = make_coco()
    del config['metainfo']
    message = refusal(CocoDataset(**config))
    assert 'none of the 80 classes' in message and "'Cat', 'Dog'" in message


def test_voc_class_of_another_spelling_is_refused(make_voc):
    config = make_voc([('Cat', 1, 1, 9, 9), ('Dog', 2, 2, 9, 9)])
    config['metainfo'] = {'classes': ('Cat', 'dog')}
    assert "Did you mean 'Dog'?" in refusal(VocXmlDataset(**config))


def test_voc_class_that_does_not_occur_is_zero_boxes(make_voc):
    assert 'Cat 1, Dog 0' in check_dataset(VocXmlDataset(**make_voc()), 'val')


def test_nothing_to_train_on_is_refused_and_fine_to_test_on(make_voc):
    dataset = VocXmlDataset(**make_voc([]))
    assert 'nothing to train on' in refusal(dataset)
    assert 'boxes    0' in check_dataset(dataset, 'test')


def test_missing_images_are_named(make_coco, tmp_path):
    dataset = CocoDataset(**make_coco())
    (tmp_path / '2.jpg').unlink()
    message = refusal(dataset)
    assert '1 of 2 images are missing' in message and str(tmp_path / '2.jpg') in message


def test_an_image_of_another_size_is_named(make_coco):
    message = refusal(CocoDataset(**make_coco(size=(30, 40))))
    assert 'image id 1: 30x40 pixels, annotated as 40x30' in message


def test_a_turned_photograph_has_its_size_as_seen(make_coco, tmp_path):
    dataset = CocoDataset(**make_coco())
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn, which the image loader undoes
    Image.new('RGB', (30, 40)).save(tmp_path / '1.jpg', exif=exif)
    assert 'images   2' in check_dataset(dataset, 'train')


def test_a_file_that_is_no_image_is_named(make_coco, tmp_path):
    dataset = CocoDataset(**make_coco())
    (tmp_path / '1.jpg').write_bytes(b'not an image')
    assert str(tmp_path / '1.jpg') in refusal(dataset)


def test_dropped_images_are_counted(make_coco):
    config = make_coco() | {'filter_cfg': {'filter_empty_gt': True}}
    report = check_dataset(CocoDataset(**config), 'train')
    assert '1 without objects; 1 of all dropped' in report


def test_finds_the_data_sets_inside_wrappers(make_coco, make_voc):
    coco, voc = CocoDataset(**make_coco()), XMLDataset(**make_voc())
    joined = ConcatDataset([coco, voc], ignore_keys=['palette'])
    assert list(plain_datasets(joined)) == [coco, voc]
    assert list(plain_datasets(RepeatDataset(coco, times=2))) == [coco]


def explained(dataset: dict) -> str:
    config = Config({'train_dataloader': {'dataset': dataset}})
    with pytest.raises(UserError) as caught:
        explain_data_error(config)
    return str(caught.value)


def test_broken_coco_files_are_named(make_coco):
    config = make_coco() | {'type': 'CocoDataset'}
    path = Path(config['ann_file'])
    whole = path.read_text()
    explain_data_error(Config({'train_dataloader': {'dataset': config}}))
    path.write_text(whole[:100])
    assert f'{path}: broken JSON' in explained(config)
    # A test does not read it, so it is not what stops the test.
    explain_data_error(Config({'train_dataloader': {'dataset': config}}), ['test'])
    content = json.loads(whole)
    del content['annotations'][0]['bbox']
    path.write_text(json.dumps(content))
    assert "annotations: id 1: an entry has no 'bbox'" in explained(config)
    path.write_text(whole.replace('"image_id": 1', '"image_id": 7'))
    assert 'annotations: id 1: there is no image with the id 7' in explained(config)
    path.write_text('[]')
    assert 'not a COCO instances file' in explained(config)
    path.unlink()
    assert f'{path}: no such annotation file' in explained(config)


def test_broken_voc_files_are_named_inside_wrappers(make_voc, tmp_path):
    config = make_voc() | {'type': 'XMLDataset'}
    path = tmp_path / 'Annotations' / 'a.xml'
    path.write_text(path.read_text()[:60])
    inner = {'type': 'ConcatDataset', 'datasets': [config]}
    message = explained({'type': 'RepeatDataset', 'times': 2, 'dataset': inner})
    assert f'{path}: broken XML' in message


def test_exif_is_named_where_it_is_the_cause(make_coco, tmp_path):
    dataset = CocoDataset(**make_coco())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 30)).save(tmp_path / '1.jpg', exif=exif)
    message = refusal(dataset)
    assert '1.jpg (image id 1: 30x40 pixels, annotated as 40x30: its EXIF' in message
    Image.new('RGB', (30, 40)).save(tmp_path / '1.jpg')
    assert 'EXIF' not in refusal(dataset)


@pytest.mark.parametrize('kind', ['jpg', 'png', 'webp', 'gif', 'bmp', 'tif'])
@pytest.mark.parametrize('cut', [1, 2, 60])
def test_an_image_that_is_cut_off_is_named(make_coco, tmp_path, kind, cut):
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / f'x.{kind}'
    Image.fromarray(noise).save(path)
    dataset = CocoDataset(**make_coco())
    whole = path.read_bytes()
    (tmp_path / '1.jpg').write_bytes(whole)
    check_dataset(dataset, 'train')
    (tmp_path / '1.jpg').write_bytes(whole[:-cut])
    content = np.fromfile(tmp_path / '1.jpg', np.uint8)
    assert cv2.imdecode(content, cv2.IMREAD_COLOR) is None  # as mmcv loads it
    assert f'{tmp_path / "1.jpg"} (' in refusal(dataset)


def test_what_follows_the_end_of_a_jpeg_does_no_harm(make_coco, tmp_path):
    dataset = CocoDataset(**make_coco())
    path = tmp_path / '1.jpg'
    whole = path.read_bytes()
    for more in (bytes(500), b'a maker writes notes here' * 99):
        path.write_bytes(whole + more)
        assert 'images   2' in check_dataset(dataset, 'train')
    # The end of a preview in the header is not the end of the picture.
    preview = b'\xff\xe1' + (len(whole) + 2).to_bytes(2, 'big') + whole
    path.write_bytes((whole[:2] + preview + whole[2:])[:-9])
    assert 'cut off' in refusal(dataset)


@pytest.mark.parametrize('kind', ['png', 'tif'])
def test_16_bit_images_are_named_with_their_highest_values(make_coco, tmp_path, kind):
    dataset = CocoDataset(**make_coco())
    assert '16 bits' not in check_dataset(dataset, 'train')
    named = []
    for name, value in ((2, 200), (1, 4095)):  # the darker one first
        pixels = np.full((30, 40, 3), value, np.uint16)
        cv2.imwrite(str(tmp_path / f'x.{kind}'), pixels)
        path = (tmp_path / f'x.{kind}').rename(tmp_path / f'{name}.jpg')
        named.append(f'{path} ({value} becomes {cv2.imread(str(path)).max()})')
    report = check_dataset(dataset, 'train')
    assert '  16 bits  2 images, cut to 8 bits' in report
    assert f': {"; ".join(named)}\n' in report


@pytest.mark.parametrize('place', [0.2, 0.5, 0.9])
def test_a_png_that_is_damaged_inside_is_named(make_coco, tmp_path, place):
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    dataset = CocoDataset(**make_coco())
    Image.fromarray(noise).save(tmp_path / '1.jpg', 'PNG')
    path = tmp_path / '1.jpg'
    raw = path.read_bytes()
    text = b'tEXtAuthor\0somebody'
    text = struct.pack('>I', len(text) - 4) + text + struct.pack('>I', zlib.crc32(text))
    whole = raw[:-12] + text + raw[-12:]  # before the last chunk, which is empty
    path.write_bytes(whole)
    report = check_dataset(dataset, 'train')
    assert 'checked  1 PNG by checksums, 1 JPEG by header and end' in report
    path.write_bytes(whole.replace(b'somebody', b'somebodx'))  # which no reader minds
    assert cv2.imread(str(path)) is not None
    check_dataset(dataset, 'train')
    damaged = bytearray(whole)
    damaged[int(place * len(whole))] ^= 0x10
    path.write_bytes(damaged)
    assert cv2.imread(str(path)) is None
    assert '1.jpg (image id 1: it is damaged' in refusal(dataset)


def test_each_kind_of_trouble_has_its_remedy(make_coco, tmp_path):
    dataset = CocoDataset(**make_coco())
    (tmp_path / '2.jpg').write_bytes((tmp_path / '2.jpg').read_bytes()[:-9])
    message = refusal(dataset)
    assert '1 of 2 images are broken' in message and 'Copy them anew' in message
    assert 'data_root' not in message
    Image.new('RGB', (41, 30)).save(tmp_path / '1.jpg')
    message = refusal(dataset)
    assert len(message.splitlines()) == 2 and 'Annotate the images as they' in message
    (tmp_path / '2.jpg').unlink()
    message = refusal(dataset)
    assert 'are missing' in message and '2.jpg. Check data_root and data_pr' in message


def test_what_no_part_of_mmdet_counts_is_not_said_to_be_counted(make_coco):
    config = make_coco(
        [(1, 5, 5, 9, 9), (1, 5, 5, 7, 7), (2, 3, 3, 0, 5), (9, 1, 1, 5, 5)]
    )
    path = Path(config['ann_file'])
    path.write_text(path.read_text().replace('[5, 5, 7, 7]', '[5, 5, Infinity, 7]'))
    report = check_dataset(CocoDataset(**config), 'val')
    assert 'left out 1 no area (zero or negative width or height) (CocoMet' in report
    assert 'left out 1 not a number: ' in report
    assert 'left out 1 of a class that the config does not name: ' in report


def nested(kind, place):
    """A wrapper of a transform that resizes."""
    resize = {'type': 'Resize', 'scale': (128, 96), 'keep_ratio': True}
    return {'type': kind, **place(resize)}


@pytest.mark.parametrize(
    'resize',
    [
        {'type': 'Resize', 'scale': (128, 96), 'keep_ratio': True},
        {'type': 'RandomChoiceResize', 'scales': [(1e4, 1e4), (128, 96)]},
        {
            'type': 'RandomResize',
            'scale': (1280, 960),
            'ratio_range': (0.1, 2.0),
            'keep_ratio': True,
        },
        nested('RandomChoice', lambda one: {'transforms': [[], [one]]}),
        nested('RandomApply', lambda one: {'transforms': [one]}),
        nested(
            'TransformBroadcaster',
            lambda one: {'transforms': [one], 'mapping': {'img': ['img', 'more']}},
        ),
        nested('mmdet.RandomOrder', lambda one: {'transforms': [one]}),
        nested('mmdet.MultiBranch', lambda one: {'branch_field': ['a'], 'a': [one]}),
        nested(
            'RandomApply',
            lambda one: {
                'transforms': [
                    nested('RandomChoice', lambda two: {'transforms': [[two]]})
                ]
            },
        ),
    ],
)
def test_an_image_of_which_a_side_would_vanish_is_named(make_coco, tmp_path, resize):
    if 'scales' in resize:
        resize = resize | {'resize_type': 'Resize', 'keep_ratio': True}
    config = make_coco() | {'pipeline': [resize]}
    dataset = CocoDataset(**config)
    check_dataset(dataset, 'train')
    path = Path(config['ann_file'])
    content = json.loads(path.read_text())
    content['images'][0] |= {'width': 4000, 'height': 8}
    path.write_text(json.dumps(content))
    Image.new('RGB', (4000, 8)).save(tmp_path / '1.jpg')
    message = refusal(CocoDataset(**config))
    assert '1.jpg (image id 1: 4000x8 pixels, of which a side vanishes' in message
    assert '128x96' in message


def test_what_is_resized_after_a_crop_is_of_another_shape(make_coco, tmp_path):
    resize = {'type': 'Resize', 'scale': (128, 96), 'keep_ratio': True}
    crop = {'type': 'mmdet.RandomCrop', 'crop_size': (8, 8)}
    choice = {'type': 'RandomChoice', 'transforms': [[], [crop, resize]]}
    config = make_coco(size=(4000, 8)) | {'pipeline': [choice]}
    path = Path(config['ann_file'])
    text = path.read_text().replace('"width": 40', '"width": 4000')
    path.write_text(text.replace('"height": 30', '"height": 8'))
    check_dataset(CocoDataset(**config), 'train')
    config['pipeline'] = [choice, resize]
    assert 'a side vanishes' in refusal(CocoDataset(**config))
