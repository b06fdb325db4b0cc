"""Annotations and other stored files are values: none is executed, or grows."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import BaseDetDataset, CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.structures import InstanceData

from mmfrcnn.cli.journal import Journal, is_journal
from mmfrcnn.data.formats.coco.read import read_coco_names
from mmfrcnn.data.proposals import read_arrays
from mmfrcnn.evaluation.ledger.columns import Columns
from mmfrcnn.training.results import read_results
from tests.trust.bounded import bounded
from tests.trust.conftest import is_marked
from tests.trust.containers import CONTAINERS
from tests.trust.documents import JSON, TAGS, XML, YAML, write_set
from tests.trust.entries import python, tool
from tests.trust.pickles import programs

TEXTS = {
    **{('yolo', name): text for name, text in YAML.items()},
    **{('coco', name): text for name, text in JSON.items()},
    **{('voc', name): text for name, text in XML.items()},
}


def filled(text: str, mark: Path, secret: Path) -> str:
    written = text.replace('{mark}', str(mark)).replace('{secret}', str(secret))
    return (
        written.replace('{{', '{').replace('}}', '}') if 'python/' in text else written
    )


@pytest.mark.parametrize(('kind', 'name'), TEXTS)
def test_annotations_execute_nothing_and_end_in_one_line(kind, name, mark, tmp_path):
    secret = tmp_path / 'secret'
    secret.write_text('a word that nobody says')
    root = tmp_path / 'set'
    text = filled(TEXTS[kind, name], mark, secret)
    file = write_set(root, kind, text)
    other = 'coco' if kind != 'coco' else 'voc'
    arguments = ('--from', kind, '--to', other, '--images', 'none')
    with bounded():
        message = tool('convert_dataset', root, tmp_path / 'out', *arguments)
    assert str(root) in message and '\n' not in message and len(message) < 1000
    assert 'nobody says' not in message
    with bounded():
        tool('new', root, '--out', tmp_path / 'new.py')
    assert not is_marked(mark) and file.read_text() == text


@pytest.mark.parametrize('name', [one for one in JSON if one != 'no number'])
def test_mmdets_data_sets_say_it_too(name, tmp_path):
    path = tmp_path / 'x.json'
    path.write_text(JSON[name])
    for reader in (COCO, read_coco_names):
        with bounded():
            try:
                message = python(reader, str(path))
            except AssertionError as error:  # of another kind of content
                message = str(error)
        assert str(path) in message or name in ('a list', 'a text')


# -- What mmengine would execute by its ending


@pytest.mark.parametrize('suffix', ['pkl', 'pickle', 'yaml', 'yml'])
def test_annotations_of_mmengine_are_not_executed(suffix, mark, tmp_path):
    path = tmp_path / f'x.{suffix}'
    if suffix.startswith('p'):
        contents = list(programs(str(mark)).values())
    else:
        tags = [tag for tag in TAGS if 'os.' in tag or 'python' in tag]
        contents = [filled(f'a: {tag}', mark, path).encode() for tag in tags]
    for content in contents:
        path.write_bytes(content)
        for option in ('ann_file', 'proposal_file'):
            with bounded():
                message = python(_read, **{option: str(path)})
            assert str(path) in message and '\n' not in message
            assert not is_marked(mark)


def _read(ann_file: str = '', proposal_file: str | None = None) -> None:
    if proposal_file:
        dataset = CocoDataset(lazy_init=True, proposal_file=proposal_file)
        dataset.data_list = []
        dataset.load_proposals()
    else:
        BaseDetDataset(ann_file=ann_file)


def test_proposals_of_mmdet_are_read(tmp_path):
    found = InstanceData(
        bboxes=np.arange(8, dtype=np.float32).reshape(2, 4),
        scores=np.array([0.5, 0.25], np.float32),
    )
    for protocol in (2, 4, 5):
        path = tmp_path / 'x.pkl'
        path.write_bytes(pickle.dumps({'train/a.png': found}, protocol))
        dataset = CocoDataset(lazy_init=True, proposal_file=str(path))
        dataset.data_list = [{'img_path': 'data/train/a.png'}]
        dataset.load_proposals()
        read = dataset.data_list[0]['proposals']
        assert isinstance(read, InstanceData)
        np.testing.assert_array_equal(read.bboxes, found.bboxes)
        np.testing.assert_array_equal(read.scores, found.scores)


# -- Files of arrays


def _archive(content: bytes, **options: int) -> bytes:
    stream = io.BytesIO()
    names = ('image_ids', 'sizes', 'ends', 'boxes', 'scores')
    with zipfile.ZipFile(stream, 'w', **options) as file:  # type: ignore[arg-type]
        for name in names:
            file.writestr(f'{name}.npy', content)
    return stream.getvalue()


def _array(shape: str, kind: str = '<f4', data: bytes = b'') -> bytes:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n"
    return b'\x93NUMPY\x01\x00' + len(head).to_bytes(2, 'little') + head.encode() + data


ARRAYS = {
    'a shape of terabytes': _array('(1099511627776,)'),
    'a shape of gigabytes': _array('(4294967296,)'),
    'a negative shape': _array('(-1,)'),
    'a call in the shape': _array('(__import__("antigravity"),)'),
    'lists in lists': _array('(' * 3000 + ')' * 3000),
    'an element of gigabytes': _array('(1,)', '|V4294967296'),
    'no header': b'\x93NUMPY\x01\x00\xff\xff',
}


@pytest.mark.parametrize('name', ARRAYS)
def test_arrays_are_no_larger_than_their_file(name, tmp_path):
    path = tmp_path / 'x.npz'
    path.write_bytes(_archive(ARRAYS[name]))
    for reader in (read_arrays, Columns.read):
        with bounded():
            assert str(path) in python(reader, path)


def test_arrays_do_not_unpack(tmp_path):
    path = tmp_path / 'x.npz'
    size = 1 << 24
    deflated = _archive(_array(f'({size},)', '|i1', bytes(size)), compression=8)
    path.write_bytes(deflated)
    with bounded():
        assert 'compressed' in python(read_arrays, path)


@pytest.mark.parametrize('container', ['numpy', 'pickle', 'zip', 'tar', 'script'])
def test_arrays_hold_no_pickle(container, mark, tmp_path):
    path = tmp_path / 'x.npz'
    for title in ('os:system', 'REDUCE', 'builtins:exec'):
        content = CONTAINERS[container](programs(str(mark))[title])
        for written in (content, _archive(content)):
            path.write_bytes(written)
            for reader in (read_arrays, Columns.read):
                assert str(path) in python(reader, path)
    assert not is_marked(mark)


# -- What a run writes and reads again


@pytest.mark.parametrize('name', JSON)
def test_a_journal_goes_on_after_what_is_whole(name, tmp_path):
    path = tmp_path / 'journal.jsonl'
    entry = {'name': 'a.png', 'version': [1], 'width': 1, 'height': 1}
    Journal(path, {'a': 1}).add({**entry, 'detections': []})
    with open(path, 'a') as stream:
        stream.write(JSON[name] + '\n')
    with bounded():
        journal = Journal(path, {'a': 1})
    assert list(journal) == ['a.png'] and not journal.restarted
    path.write_text(JSON[name])
    assert not is_journal(path)


def test_results_that_are_none_are_passed_over(tmp_path):
    path = tmp_path / 'results.csv'
    for text in ('=cmd|"/c calc"!A1,2\n', 'iteration,epoch\n' + 'x' * 200_000, '\0'):
        path.write_text(text)
        assert read_results(path) == []


def test_honest_json_is_read(tmp_path):
    path = tmp_path / 'x.json'
    path.write_text(json.dumps({'images': [], 'annotations': [], 'categories': []}))
    assert COCO(str(path)).dataset['images'] == []
