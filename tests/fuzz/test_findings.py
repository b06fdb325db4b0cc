"""What fuzzing has found, a small file each."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmfrcnn.cli.journal import Journal
from mmfrcnn.compat.config_text import config_of_text
from mmfrcnn.data.conversion import convert
from mmfrcnn.data.formats.coco.read import read_coco, read_coco_names
from mmfrcnn.data.formats.csv_table import read_csv
from mmfrcnn.data.formats.label_studio import read_label_studio
from mmfrcnn.data.formats.labelme import read_labelme
from mmfrcnn.data.formats.names import read_class_names, read_names
from mmfrcnn.data.formats.voc import read_voc
from mmfrcnn.data.formats.yolo.dataset import YoloDataset
from mmfrcnn.data.images import image_size
from mmfrcnn.data.proposals import read_arrays
from mmfrcnn.errors import UserError
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.training.results import read_results
from mmfrcnn.weights.checkpoints import read_checkpoint
from mmfrcnn.weights.fitting import check_optimizer, check_state
from tests.fuzz.reader import fault_of_message
from tests.fuzz.readers import arrays, coco, records, voc, yolo

HUGE = 10**400


def refusal(read: Callable[..., object], *arguments: object, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(*arguments)
    assert not fault_of_message(str(caught.value), folder)
    return str(caught.value)


# -- COCO

COCO = {
    'a side of 400 digits': ('images', 'width', HUGE, 'width is 1000'),
    'an infinite side': ('images', 'width', float('inf'), 'width is inf'),
    'a part of a pixel': ('images', 'width', 1.5, 'width is 1.5'),
    'an area of 400 digits': ('annotations', 'bbox', [1, 2, 3, HUGE], 'not four'),
    'an id that is a list': ('images', 'id', [1], 'neither number nor text'),
    'an id that is no number': ('images', 'id', float('nan'), 'neither number'),
    'a file name that is a list': ('images', 'file_name', ['a.png'], 'no text'),
    'a NUL in a file name': ('images', 'file_name', 'a\0.png', r'a\x00.png'),
    'a line end in a class': ('categories', 'name', 'a\nb', 'not printable'),
    'half a letter in a class': ('categories', 'name', '\ud800', 'not printable'),
    'an id of two categories': ('categories', 'id', 2, 'two categories have the id 2'),
    'a box of 2000 numbers': ('annotations', 'bbox', [0] * 2000, '0, 0, ...]'),
    'a crowd of letters': ('annotations', 'iscrowd', 'x' * 3000, 'iscrowd is'),
}


@pytest.mark.parametrize('name', COCO)
def test_coco(name, tmp_path):
    table, key, value, words = COCO[name]
    content = coco.valid()
    content[table][0][key] = value
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(content))
    assert words in refusal(read_coco, path, folder=tmp_path)
    if table == 'categories':
        assert words in refusal(read_coco_names, path, folder=tmp_path)


def test_an_id_of_two_lines_is_named_on_one(tmp_path):
    content = coco.valid()
    content['annotations'][0] |= {'id': 'a\nb', 'iscrowd': 7}
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(content))
    assert r"id 'a\nb': iscrowd is 7" in refusal(read_coco, path, folder=tmp_path)


def test_an_area_of_400_digits_is_that_of_the_box(tmp_path):
    content = coco.valid()
    content['annotations'][0]['area'] = HUGE
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(content))
    notes: list[str] = []
    read_coco(path, notes)
    assert notes == ['1 annotations without a usable area: that of the box is taken']


def test_a_box_without_end_is_left_out_of_both_the_data_and_the_count(tmp_path):
    content = coco.valid()
    content['annotations'][0]['bbox'] = [1, 2, float('inf'), 3]
    content['annotations'][1]['bbox'] = [1e308, 1e308, 1, 1]
    (tmp_path / coco.FILE).write_text(json.dumps(content))
    coco.read_data_set(tmp_path)  # compares what is held with what is reported


# -- VOC, YOLO, CSV


@pytest.mark.parametrize('side', ['inf', '1e308', 'nan', '-1', '9' * 5000])
def test_an_impossible_size_in_xml(side, tmp_path):
    path = tmp_path / 'a.xml'
    path.write_text(voc.VALID.replace('<width>40', f'<width>{side}'))
    assert 'size/width' in refusal(read_voc, path, folder=tmp_path)


@pytest.mark.parametrize('name', ['a\0b', 'a\x1b[31m', 'x' * 5000, '../' * 2000])
def test_names_that_no_file_has(name, tmp_path):
    yolo.prepare(tmp_path)
    texts = {'data.yaml': yolo.OTHER_NAMES, 'train.txt': f'./images/train/{name}.png\n'}
    for file, text in texts.items():
        (tmp_path / file).write_text(text)
    dataset = YoloDataset(split='train', data_root=str(tmp_path), lazy_init=True)
    refusal(dataset.read, folder=tmp_path)
    table = tmp_path / 't.csv'
    table.write_text(f'filename,xmin,ymin,xmax,ymax,label\n{name},1,2,3,4,cat\n')
    refusal(read_csv, table, tmp_path, folder=tmp_path)


@pytest.mark.parametrize(
    'line', ['0 sNaN .5 .2 .2', '0 inf .5 inf .2', '0 .1 nan .2 .3 .4 .5']
)
def test_what_is_no_number_in_yolo_is_left_out_by_name(line, tmp_path):
    yolo.prepare(tmp_path)
    (tmp_path / 'data.yaml').write_text(yolo.NAMES)
    (tmp_path / 'labels/train/a.txt').write_text(line)
    dataset = YoloDataset(split='train', data_root=str(tmp_path), pipeline=[])
    ((found, reason),) = dataset.left_out
    assert reason == 'not a number' and 'a.png: line 1, cat' in found.title


def test_an_empty_split_and_a_table_of_a_header(tmp_path):
    (tmp_path / 'train.txt').write_text('\n \n')
    assert 'is empty' in refusal(read_names, tmp_path / 'train.txt', folder=tmp_path)
    table = tmp_path / 't.csv'
    table.write_text('filename,xmin,ymin,xmax,ymax,label\n')
    assert read_csv(table, tmp_path) == ([], [])
    table.write_text('')
    assert 'no column' in refusal(read_csv, table, tmp_path, folder=tmp_path)


@pytest.mark.parametrize('text', ['names: [0x' + 'f' * 5000 + ']', 'names: {.inf: a}'])
def test_yaml_of_numbers_that_are_no_names(text, tmp_path):
    path = tmp_path / 'data.yaml'
    path.write_text(text)
    refusal(read_class_names, path, folder=tmp_path)


# -- Labelling tools


def test_a_point_that_is_no_number_spoils_its_outline(tmp_path):
    Image.new('L', (40, 30)).save(tmp_path / 'a.png')
    points = [[1, 1], [float('nan'), 5], [9, 9]]
    shapes = [{'label': 'cat', 'points': points, 'shape_type': 'polygon'}]
    (tmp_path / 'a.json').write_text(json.dumps({'shapes': shapes}))
    (picture,) = read_labelme(tmp_path, tmp_path)[1]
    assert np.isnan(picture.objects[0].box).all()


def label_studio(tmp_path: Path, *shapes: object) -> tuple[list, list[str]]:
    Image.new('L', (40, 30)).save(tmp_path / 'a.png')
    path, notes = tmp_path / 'e.json', []
    task = {'id': 1, 'data': {'image': 'a.png'}, 'annotations': [{'result': [*shapes]}]}
    path.write_text(json.dumps([task]))
    (picture,) = read_label_studio(path, tmp_path, notes)[1]
    return picture.objects, notes


@pytest.mark.parametrize(
    'shape',
    [
        *(1, 'x', None, {'value': 'x'}, {'value': [1]}),
        *({'value': {'rectanglelabels': {}, 'polygonlabels': 'x'}},),
        {'value': {'rectanglelabels': [[]], 'x': 1, 'y': 1, 'width': 1, 'height': 1}},
        {
            'value': {
                'rectanglelabels': ['a'],
                'x': HUGE,
                'y': 1,
                'width': 1,
                'height': 1,
            }
        },
        {'value': {'polygonlabels': ['a'], 'points': [[1, 2, 3]]}},
    ],
)
def test_label_studio(shape, tmp_path):
    refusal(label_studio, tmp_path, shape, folder=tmp_path)


def test_label_studio_says_which_shapes_have_no_box(tmp_path):
    brush = {'value': {'format': 'rle', 'rle': [1], 'brushlabels': ['cat']}}
    objects, notes = label_studio(tmp_path, brush, {'value': {'choices': ['x']}})
    assert not objects
    assert notes == ["shapes without a box are left out: 'brushlabels' 1"]


# -- What is no file


@pytest.mark.parametrize('kind', ['folder', 'pipe', 'loop'])
def test_what_is_no_file_is_not_waited_for(kind, tmp_path):
    path = tmp_path / 'x'
    make = {'folder': path.mkdir, 'pipe': lambda: os.mkfifo(path)}
    make.get(kind, lambda: path.symlink_to(path))()
    for read in (read_coco, read_voc, read_names, read_arrays, Columns.read):
        refusal(read, path, folder=tmp_path)
    refusal(read_csv, path, tmp_path, folder=tmp_path)
    assert read_results(path) == []
    with pytest.raises(OSError):
        image_size(path)


# -- Arrays, records, checkpoints


def changed_archive(tmp_path: Path, content: bytes, **changed: np.ndarray) -> Path:
    path = tmp_path / 'x.npz'
    path.write_bytes(content)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, **changed})
    return path


@pytest.mark.parametrize(
    'changed',
    [
        {'ends': np.array([2.0, 2.0, 3.0])},
        {'boxes': np.zeros((3, 4), 'U3')},
        {'boxes': np.full((3, 4), np.nan, 'f4')},
        {'scores': np.zeros(3, 'c8')},
        {'image_ids': np.array(['a', 'a', 'b'])},
        {'image_ids': np.full(3, -1, 'i4').view('U1')},  # letters that are none
    ],
    ids=lambda changed: '-'.join(changed),
)
def test_proposals(changed, tmp_path):
    path = changed_archive(tmp_path, arrays._proposals(tmp_path), **changed)
    refusal(read_arrays, str(path), folder=tmp_path)


@pytest.mark.parametrize(
    'changed',
    [
        {'detection_label': np.full(7, 2)},
        {'object_image': np.full(5, -1)},
        {'object_box': np.zeros((5, 3))},
        {'detection_score': np.full(7, np.nan)},
        {'classes': np.zeros(2)},
        {'thresholds': np.zeros(10)},
    ],
    ids=lambda changed: '-'.join(changed),
)
def test_ledgers(changed, tmp_path):
    path = changed_archive(tmp_path, arrays._ledger(tmp_path)[0], **changed)
    assert next(iter(changed)) in refusal(Columns.read, path, folder=tmp_path)


@pytest.mark.parametrize('key', ['version', 'width', 'detections'])
def test_a_journal_ends_where_an_entry_is_not_whole(key, tmp_path):
    path = tmp_path / 'journal.jsonl'
    lines = records._lines()
    lines[2][key] = 'x'
    path.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    assert list(Journal(path, records.SETTINGS)) == ['a.png']


@pytest.mark.parametrize('row', ['1,²,0.5', '1,10,0.5,2', f'1,{"9" * 400},0.5'])
def test_results_of_another_kind(row, tmp_path):
    path = tmp_path / 'results.csv'
    path.write_text(f'epoch,iteration,loss\n{row}\n', encoding='utf-8')
    assert read_results(path) == []


@pytest.mark.parametrize(
    ('part', 'value'),
    [
        *(('message_hub', {'log_scalars': {}}), ('message_hub', None)),
        *(('optimizer', {}), ('meta', {'iter': 3}), ('state_dict', None)),
    ],
)
def test_no_training_goes_on_from_a_checkpoint_without_its_parts(part, value):
    log = {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}}
    whole = {
        'state_dict': {'a': torch.ones(1)},
        'optimizer': {'state': {}},
        'meta': {'epoch': 1, 'iter': 3},
        'message_hub': log,
    }
    check_state(whole, 'x.pth')
    with pytest.raises(UserError, match=r'^x\.pth holds weights only'):
        check_state({**whole, part: value}, 'x.pth')


def test_no_memory_is_read_as_a_weight(tmp_path):
    """torch reads nothing for a part that is marked as a folder, and says nothing."""
    path, marked = tmp_path / 'a.pth', tmp_path / 'x.pth'
    torch.save({'state_dict': {'a': torch.ones(1000)}}, path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(marked, 'w') as new:
        for part in old.infolist():
            part.external_attr |= 0x10 * part.filename.endswith('data/0')
            new.writestr(part, old.read(part.filename))
    assert not torch.load(marked, weights_only=True)['state_dict']['a'].eq(1).all()
    said = refusal(read_checkpoint, str(marked), folder=tmp_path)
    assert 'passes for a folder' in said


def test_what_a_log_says_is_resumed_is_what_it_holds(tmp_path):
    path = tmp_path / 'x.pth'
    log = {'log_scalars': {}, 'runtime_info': {'iter': 1}, 'resumed_keys': {'x': [1]}}
    torch.save({'state_dict': {}, 'message_hub': log}, path)
    assert read_checkpoint(str(path))['message_hub']['resumed_keys'] == {'iter': True}


@pytest.mark.parametrize('change', [{'params': [[]]}, {'lr': 'x'}, None])
def test_the_state_of_an_optimizer_of_other_kinds(change, tmp_path):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    state = optimizer.state_dict()
    state['param_groups'][0].update(change or {})
    state['state'] = {0: {} if change else {'momentum_buffer': 1}}
    refusal(check_optimizer, optimizer, state, str(tmp_path), folder=tmp_path)


def test_a_box_beyond_all_pixels_is_not_converted(tmp_path):
    content = coco.valid()
    content['annotations'][0]['bbox'] = [1e308, 2, 3, 4]
    (tmp_path / coco.FILE).write_text(json.dumps(content))

    def run() -> None:
        convert(
            *(tmp_path / coco.FILE, tmp_path / 'out'),
            **{'source_format': 'coco', 'target_format': 'yolo', 'images': 'none'},
        )

    assert 'annotation 1 in a.png' in refusal(run, folder=tmp_path)


def test_a_module_of_many_words_is_named_in_few():
    text = f'custom_imports = {{"imports": [{"no module " * 900!r}]}}'
    with pytest.raises(
        UserError, match=r'^x imports .no module .*\. If you'
    ) as refused:
        config_of_text(text, 'x', 'Name another')
    assert len(str(refused.value)) < 300
