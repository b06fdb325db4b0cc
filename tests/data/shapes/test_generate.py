"""The files: the same for the same seed, valid COCO, complete or not there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmfrcnn.data.shapes.dataset import ShapesDataset
from mmfrcnn.data.shapes.generate import (
    MARKER,
    annotation_file,
    draw,
    is_complete,
    make_shapes,
)
from mmfrcnn.data.shapes.outlines import CLASSES
from mmfrcnn.errors import UserError
from tests.tools import REPO, run_tool, start_forked


def fingerprint(root: Path) -> dict[str, str]:
    """Hashes of all files the set consists of."""
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob('*'))
        if file.suffix in ('.jpg', '.json')
    }


def load(root: Path, split: str) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(annotation_file(root, split)))


def test_same_seed_same_bytes_for_any_number_of_workers(shapes_root, tmp_path, counts):
    make_shapes(tmp_path, seed=3, counts=counts, workers=1)
    assert fingerprint(tmp_path) == fingerprint(shapes_root)
    assert len(fingerprint(tmp_path)) == sum(counts.values()) + 2


def test_other_seed_other_pictures():
    first, _ = draw(0, 'train', 0)
    assert (first == draw(0, 'train', 0)[0]).all()
    for other in (draw(1, 'train', 0), draw(0, 'val', 0), draw(0, 'train', 1)):
        assert (first != other[0]).mean() > 0.5


def test_annotations_do_not_depend_on_the_painting(monkeypatch):
    _, expected = draw(0, 'train', 5)
    monkeypatch.setattr(
        'mmfrcnn.data.shapes.generate.paint',
        lambda layers, rng: np.zeros((240, 320, 3)),
    )
    assert draw(0, 'train', 5)[1] == expected


@pytest.mark.parametrize('split', ['train', 'val'])
def test_valid_coco(shapes_root, split, counts):
    coco = load(shapes_root, split)
    assert [one['name'] for one in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert len(coco.getImgIds()) == counts[split]
    for image in coco.loadImgs(coco.getImgIds()):
        picture = cv2.imread(str(shapes_root / split / image['file_name']))
        assert picture.shape == (image['height'], image['width'], 3) == (240, 320, 3)
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation)
        assert mask.shape == (240, 320)
        assert mask.sum() == annotation['area']
        assert list(coco_mask.toBbox(annotation['segmentation'])) == annotation['bbox']
        rows, columns = np.nonzero(mask)
        x, y, width, height = annotation['bbox']
        assert (x, x + width - 1) == (columns.min(), columns.max())
        assert (y, y + height - 1) == (rows.min(), rows.max())


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_the_truth_as_detections_scores_one(shapes_root, kind):
    coco = load(shapes_root, 'train')
    detections = [
        {**annotation, 'score': 1.0}
        for annotation in coco.dataset['annotations']
        if not annotation['iscrowd']
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(detections), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_complete_set_is_left_alone(shapes_root, counts):
    before = {file: file.stat().st_mtime_ns for file in shapes_root.rglob('*.jpg')}
    assert make_shapes(shapes_root, seed=3, counts=counts) == []
    after = {file: file.stat().st_mtime_ns for file in shapes_root.rglob('*.jpg')}
    assert before == after


def test_force_makes_it_again(tmp_path):
    counts = {'train': 2, 'val': 1}
    make_shapes(tmp_path, counts=counts, workers=1)
    first = fingerprint(tmp_path)
    make_shapes(tmp_path, seed=1, counts=counts, workers=1, force=True)
    assert fingerprint(tmp_path) != first
    make_shapes(tmp_path, seed=0, counts=counts, workers=1, force=True)
    assert fingerprint(tmp_path) == first


def test_other_settings_in_the_same_folder_are_refused(shapes_root, counts):
    with pytest.raises(UserError, match=r'made with seed 3 and 40 pictures.*--force'):
        make_shapes(shapes_root, seed=4, counts=counts)


@pytest.mark.parametrize('content', ['not json', '[]', '{"info": {}}'])
def test_foreign_annotations_are_refused(tmp_path, content):
    file = annotation_file(tmp_path, 'train')
    file.parent.mkdir()
    file.write_text(content)
    (tmp_path / MARKER).touch()
    with pytest.raises(UserError, match='not an annotation file of the shapes'):
        make_shapes(tmp_path)
    assert file.read_text() == content


@pytest.mark.parametrize('force', [False, True])
@pytest.mark.parametrize(
    'name',
    ['train/000000.jpg', 'notes.txt', 'annotations/instances_train.json'],
)
def test_a_folder_of_other_files_is_left_as_it_is(tmp_path, name, force):
    for path in (tmp_path / name, tmp_path / 'annotations/instances_val.json'):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b'{"info": {"description": "mine"}}')
    before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    with pytest.raises(UserError, match=f'{tmp_path} is a folder of other files'):
        make_shapes(tmp_path, force=force)
    after = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    assert after == before
    assert {p.name for p in tmp_path.iterdir()} == {
        *(Path(name).parts[:1]),
        'annotations',
    }


def test_a_data_set_over_the_users_folder_draws_nothing(tmp_path):
    (tmp_path / 'mine.jpg').write_bytes(b'mine')
    with pytest.raises(UserError, match="type='CocoDataset'"):
        ShapesDataset(data_root=str(tmp_path), ann_file='train.json')
    assert [path.name for path in tmp_path.iterdir()] == ['mine.jpg']


def test_a_set_of_before_the_marker_is_known(tmp_path, shapes_root, counts):
    copy = tmp_path / 'copy'
    shutil.copytree(shapes_root, copy)
    (copy / MARKER).unlink()
    assert make_shapes(copy, seed=3, counts=counts) == []


@pytest.mark.parametrize(
    'values',
    [{'seed': -1}, {'workers': 0}, {'counts': {'train': 0, 'val': 1}}],
)
def test_values_out_of_range(tmp_path, values):
    with pytest.raises(UserError, match='must be'):
        make_shapes(tmp_path / 'never', **values)
    assert not (tmp_path / 'never').exists()


def test_unwritable_folder(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write'):
        make_shapes(tmp_path / 'file')


def test_killed_in_the_middle_then_run_again(tmp_path, shapes_root, counts):
    """SIGKILL leaves no set that looks complete, no worker, and no lock."""
    args = ['--out', str(tmp_path), '--seed', '3', '--workers', '2']
    args += ['--num-train', '5000', '--num-val', str(counts['val'])]
    process = start_forked([str(REPO / 'tools/make_shapes.py'), *args], tmp_path)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob('train/*.jpg'))) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.join()
    assert not is_complete(tmp_path)
    # Forked workers hold their parent's lock: this fails if one of them lives on.
    FileLock(tmp_path / '.lock').acquire(timeout=20).lock.release()

    for file in tmp_path.glob('train/*.jpg'):
        if int(file.stem) >= counts['train']:
            file.unlink()
    assert make_shapes(tmp_path, seed=3, counts=counts) == ['train', 'val']
    assert fingerprint(tmp_path) == fingerprint(shapes_root)


def test_tool_speaks_plainly(tmp_path):
    done = run_tool('make_shapes.py', '--out', tmp_path, '--num-val', '-2')
    assert done.returncode == 2
    assert done.stderr.startswith('error: the number of val pictures must be 1 or more')
    done = run_tool('make_shapes.py', '--help')
    assert done.returncode == 0
    assert 'example:' in done.stdout


def test_tool_makes_then_skips(tmp_path):
    args = ['--out', str(tmp_path), '--num-train', '3', '--num-val', '1']
    for expected in ('made train and val in', 'already complete:'):
        done = run_tool('make_shapes.py', *args)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(expected)
    info = json.loads(annotation_file(tmp_path, 'val').read_text())['info']
    assert info['seed'] == 0


def test_two_runs_at_once_take_turns(tmp_path):
    args = ['make_shapes.py', '--out', tmp_path, '--num-train', 8, '--num-val', 2]
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(run_tool, *args) for _ in range(2)]
    outputs = sorted(run.result().stdout.split()[0] for run in runs)
    assert outputs == ['already', 'made']
