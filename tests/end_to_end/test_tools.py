"""The real tools, as a user runs them: subprocesses on a tiny data set."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

import mmfrcnn  # noqa: F401  (it allows what checkpoints hold)
from mmfrcnn.training.results import read_results
from tests.tools import REPO, environment, run_ranks, run_tool

from .tiny import assert_user_error, make_config

EPOCHS = 3


# The loss of a batch is no mean over its images, which processes share out otherwise.
VALIDATION = """
val_dataloader = dict(val_dataloader, batch_size=1)
custom_hooks = [dict(type='PreflightHook'), dict(type='ValidationLossHook')]
"""


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, ``tiny.py`` and a run of three epochs in ``run``."""
    folder = tmp_path_factory.mktemp('tools')
    config = make_config(folder)
    config.write_text(config.read_text() + VALIDATION)
    result = run_tool('train.py', config, '--work-dir', folder / 'run', *epochs(EPOCHS))
    assert result.returncode == 0, result.stderr
    assert 'Training on cpu (1 process): 8 images, 4 an iteration' in result.stdout
    assert 'made for 16 images an iteration and not scaled' in result.stdout
    assert ' eta: ' in result.stdout
    return folder


def epochs(number: int) -> list[str]:
    return ['--cfg-options', f'train_cfg.max_epochs={number}']


def logged_losses(work_dir: Path) -> dict[int, float]:
    """Return the loss of each iteration from the newest log of a work folder."""
    log = max(work_dir.glob('*/vis_data/scalars.json'), key=os.path.getmtime)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return {r['step']: r['loss'] for r in records if 'loss' in r}


@pytest.mark.parametrize('name', ['train', 'test', 'predict', 'browse_dataset'])
def test_help_has_an_example_and_is_quick(name: str) -> None:
    code = (
        'import runpy, sys\n'
        f'sys.argv = ["{name}.py", "--help"]\n'
        'try:\n'
        f'    runpy.run_path({str(REPO / "tools" / f"{name}.py")!r}, '
        'run_name="__main__")\n'
        'finally:\n'
        '    assert "torch" not in sys.modules\n'
    )
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=environment()
    )
    assert result.returncode == 0, result.stderr
    assert f'python tools/{name}.py' in result.stdout


def test_killed_training_resumes_as_if_never_killed(trained: Path) -> None:
    work_dir = trained / 'killed'
    process = subprocess.Popen(
        [
            *(sys.executable, str(REPO / 'tools/train.py'), str(trained / 'tiny.py')),
            *('--work-dir', str(work_dir), *epochs(1000)),
        ],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 100
        while not (work_dir / 'epoch_3.pth').exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # A kill while the newest checkpoint is written leaves its beginning only.
    last = work_dir / 'epoch_2.pth'
    for newer in set(work_dir.glob('*.pth')) - {work_dir / 'epoch_1.pth', last}:
        newer.unlink()
    broken = work_dir / 'epoch_3.pth'
    broken.write_bytes(last.read_bytes()[:5000])
    (work_dir / 'last_checkpoint').write_text(str(broken))

    args = ['--work-dir', work_dir, '--resume', *epochs(EPOCHS)]
    result = run_tool('train.py', trained / 'tiny.py', *args)
    assert result.returncode == 0, result.stderr
    assert f'Skipping {broken}: it was cut off' in result.stdout
    assert f'Resuming from {last}.' in result.stdout
    losses = logged_losses(work_dir)
    assert set(losses) == {5, 6}  # two iterations an epoch, the third epoch only
    reference = logged_losses(trained / 'run')
    assert losses == pytest.approx({s: reference[s] for s in (5, 6)}, rel=1e-5)


def test_nothing_to_resume_starts_from_scratch_and_scales_the_rate(
    trained: Path,
) -> None:
    args = ['--work-dir', trained / 'scratch', '--resume', '--auto-scale-lr']
    result = run_tool('train.py', trained / 'tiny.py', *args, *epochs(1))
    assert result.returncode == 0, result.stderr
    assert 'Nothing to resume' in result.stdout
    assert 'rate     0.0025 (SGD), scaled from 16 images' in result.stdout


def test_two_processes_train_as_one_with_the_same_global_batch(trained: Path) -> None:
    """How dist_train.sh starts them, test_refusals.py shows."""
    config = trained / 'tiny.py'
    one, two = trained / 'run', trained / 'two'
    options = [*epochs(EPOCHS), 'train_dataloader.batch_size=2']
    done = run_ranks('train.py', config, '--work-dir', two, *options)
    assert [one.returncode for one in done] == [0, 0], done
    assert 'Training on cpu (2 processes): 8 images, 4 an iter' in done[0].stdout

    load_checkpoint = partial(torch.load, weights_only=True)
    losses = [list(logged_losses(folder).values()) for folder in (one, two)]
    assert len(losses[0]) == 2 * EPOCHS
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-4, rtol=1e-4)
    weights = [
        load_checkpoint(folder / f'epoch_{EPOCHS}.pth')['state_dict']
        for folder in (one, two)
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-4, rtol=1e-3)

    rows = [read_results(folder / 'results.csv')[-1] for folder in (one, two)]
    losses = [{k: float(v) for k, v in row.items() if 'val_loss' in k} for row in rows]
    assert len(losses[0]) == 5
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)

    done = run_ranks('test.py', config, two / f'epoch_{EPOCHS}.pth')
    assert [one.returncode for one in done] == [0, 0], done
    assert 'coco/bbox_mAP: ' in done[0].stdout
    assert ' in 8 images, IoU 0.5' in done[0].stdout
    assert 'Objects' not in done[1].stdout


def test_dist_test_starts_what_dist_train_does(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'executable', 'echo')  # PYTHON of the scripts
    train = run_tool('dist_train.sh', 'a.py', 2, '--amp').stdout.split()
    test = run_tool('dist_test.sh', 'a.py', 'a.pth', 2, '--tta').stdout.split()
    assert 'train.py a.py --launcher pytorch --amp' in ' '.join(train)
    start = [word for word in train if word.startswith('--n')]
    assert start == [word for word in test if word.startswith('--n')]
    assert len(start) == 3
    assert 'test.py a.py a.pth --launcher pytorch --tta' in ' '.join(test)


@pytest.fixture(scope='module')
def tested(trained: Path) -> dict[int, list[dict]]:
    """Detections that test.py wrote, by image id."""
    out = trained / 'results.json'
    pictures = trained / 'shown'
    args = [trained / 'tiny.py', trained / f'run/epoch_{EPOCHS}.pth']
    args += ['--out', out, '--show-dir', pictures, '--work-dir', trained / 'test']
    result = run_tool('test.py', *args)
    assert result.returncode == 0, result.stderr
    assert 'coco/bbox_mAP: ' in result.stdout
    assert {p.name for p in pictures.glob('[!.]*')} == {
        p.name for p in (trained / 'data/images').iterdir()
    }
    (ledger,) = (trained / 'test').glob('*/ledger.json')
    assert json.loads(ledger.read_text())['images'] == 8
    assert f'Ledger: {ledger}' in result.stdout
    detections = json.loads(out.read_text())
    assert COCO(trained / 'data/train.json').loadRes(str(out)).getAnnIds()
    return {i: [d for d in detections if d['image_id'] == i] for i in range(1, 9)}


def test_test_time_augmentation_merges_the_flipped_image(
    trained: Path, tested: dict[int, list[dict]]
) -> None:
    out = trained / 'tta.json'
    args = [trained / 'tiny.py', trained / f'run/epoch_{EPOCHS}.pth', '--tta']
    result = run_tool('test.py', *args, '--out', out, '--work-dir', trained / 'tta')
    assert result.returncode == 0, result.stderr
    assert 'Ledger' not in result.stdout
    detections = json.loads(out.read_text())
    plain = sum(len(found) for found in tested.values())
    assert plain < len(detections) <= 2 * plain


def test_half_precision_trains_and_finds_nearly_the_same(
    trained: Path, tested: dict[int, list[dict]]
) -> None:
    args = ['--work-dir', trained / 'bf16', '--amp', 'bf16', *epochs(EPOCHS)]
    result = run_tool('train.py', trained / 'tiny.py', *args)
    assert result.returncode == 0, result.stderr
    exact, rounded = (logged_losses(trained / name) for name in ('run', 'bf16'))
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.05)

    out = trained / 'half.json'
    args = [trained / 'tiny.py', trained / f'run/epoch_{EPOCHS}.pth', '--out', out]
    args += ['--precision', 'bf16', '--work-dir', trained / 'half']
    result = run_tool('test.py', *args)
    assert result.returncode == 0, result.stderr
    best: dict[int, float] = {}
    for found in json.loads(out.read_text()):
        best[found['image_id']] = max(best.get(found['image_id'], 0), found['score'])
    scores = {i: max(d['score'] for d in found) for i, found in tested.items()}
    assert best != scores
    assert best == pytest.approx(scores, rel=0.1)


def test_predict_agrees_with_test_and_continues(
    trained: Path, tested: dict[int, list[dict]]
) -> None:
    photos = trained / 'photos'
    shutil.copytree(trained / 'data/images', photos / 'some')
    (photos / 'broken.jpg').write_bytes(b'\xff\xd8\xff\xe0 not a picture')
    (photos / 'notes.txt').write_text('no picture')
    out = trained / 'predicted'
    args = [photos, trained / 'tiny.py', trained / f'run/epoch_{EPOCHS}.pth']
    args += ['--out-dir', out, '--batch-size', 3, '--score-thr', 0.0]
    result = run_tool('predict.py', *args)
    assert result.returncode == 3, result.stderr
    assert '1 of 9 images are left out' in result.stdout
    assert 'broken.jpg: ' in result.stdout
    assert len(list((out / 'pictures/some').glob('*.png'))) == 8

    coco = COCO(out / 'predictions.json')
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == ['box', 'disc']
    for image in coco.loadImgs(coco.getImgIds()):
        assert (image['width'], image['height']) == (128, 96)
        found = coco.loadAnns(coco.getAnnIds(image['id']))
        expected = tested[int(Path(image['file_name']).stem)]
        assert [d['category_id'] for d in found] == [d['category_id'] for d in expected]
        for key in ('bbox', 'score'):
            ours, theirs = ([d[key] for d in ds] for ds in (found, expected))
            np.testing.assert_allclose(ours, theirs, atol=1e-3)

    # As a kill leaves it: three images done, a fourth cut off.
    whole = (out / 'predictions.json').read_bytes()
    journal = out / 'journal.jsonl'
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(''.join(lines[:4]) + lines[4][:40])
    (out / 'predictions.json').unlink()
    result = run_tool('predict.py', *args)
    assert '3 of 9 images are done already' in result.stdout
    assert (
        json.loads((out / 'predictions.json').read_bytes())['images']
        == (json.loads(whole)['images'])
    )
    assert len(journal.read_text().splitlines()) == 9


def test_predict_on_a_video(trained: Path) -> None:
    clip = trained / 'clip.avi'
    stream = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*'MJPG'), 5.0, (128, 96))
    for path in sorted((trained / 'data/images').iterdir())[:5]:
        stream.write(cv2.imread(str(path)))
    stream.release()
    out = trained / 'video'
    checkpoint = trained / f'run/epoch_{EPOCHS}.pth'
    args = [clip, trained / 'tiny.py', checkpoint, '--out-dir', out]
    result = run_tool('predict.py', *args, '--batch-size', 2)
    assert result.returncode == 0, result.stderr
    images = json.loads((out / 'predictions.json').read_text())['images']
    assert [image['file_name'] for image in images] == [
        f'clip.avi#{frame}' for frame in range(5)
    ]
    written = cv2.VideoCapture(str(out / 'clip.mp4'))
    assert int(written.get(cv2.CAP_PROP_FRAME_COUNT)) == 5
    assert written.get(cv2.CAP_PROP_FPS) == pytest.approx(5)


def test_browse_shows_images_boxes_and_an_overview(trained: Path) -> None:
    out = trained / 'browse'
    result = run_tool('browse_dataset.py', trained / 'tiny.py', '--out-dir', out)
    assert result.returncode == 0, result.stderr
    pictures = sorted(out.glob('0*.png'))
    assert len(pictures) == 8
    assert (out / 'overview.png').is_file()
    annotations = COCO(trained / 'data/train.json')
    for path in pictures:
        picture = cv2.imread(str(path))
        assert picture.shape == (480, 640, 3)  # five times 96 x 128
        image_id = int(path.stem.split('_')[1])
        for box in annotations.loadAnns(annotations.getAnnIds(image_id)):
            x, y, w, h = (5 * value for value in box['bbox'])
            middle = picture[y + h // 2, x + w // 2].astype(int)
            colour = (40, 40, 220) if box['category_id'] == 1 else (220, 120, 40)
            # The normalisation is undone: the drawn colour is back.
            if not _overlaps(
                box, annotations.loadAnns(annotations.getAnnIds(image_id))
            ):
                assert np.abs(middle - colour).max() <= 3


def _overlaps(box: dict, others: list[dict]) -> bool:
    x, y, w, h = box['bbox']
    return any(
        a < x + w and x < a + c and b < y + h and y < b + d
        for a, b, c, d in (o['bbox'] for o in others if o['id'] != box['id'])
    )


def test_mistakes_get_one_line_and_exit_code_2(trained: Path) -> None:
    config, checkpoint = trained / 'tiny.py', trained / f'run/epoch_{EPOCHS}.pth'
    train = ['--work-dir', trained / 'mistakes', '--cfg-options']
    assert_user_error(
        run_tool('train.py', config, *train, 'modle.rpn_head.in_channels=3'),
        "no such key 'modle'",
        "Did you mean 'model'?",
    )
    image = trained / 'data/images/001.png'
    image.rename(trained / 'moved.png')
    result = run_tool('train.py', config, *train, 'train_dataloader.num_workers=1')
    (trained / 'moved.png').rename(image)
    assert_user_error(result, 'train_dataloader.dataset', '1 of 8 images', '001.png')
    other = trained / 'other.py'
    other.write_text(
        "_base_ = './tiny.py'\n"
        'model = dict(roi_head=dict(bbox_head=dict(reg_class_agnostic=True)))\n'
    )
    assert_user_error(
        run_tool('test.py', other, checkpoint, '--work-dir', trained / 'mistakes'),
        'is not of the model in this config',
        'roi_head.bbox_head.fc_reg.bias is (8,), in the model (4,)',
    )
