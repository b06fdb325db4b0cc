"""What a training leaves: results.csv, pictures, the console's lines, trackers."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend

import mmfrcnn  # noqa: F401  (before mmdet)
from mmfrcnn.cli import trackers
from mmfrcnn.training import pictures
from tests.end_to_end.tiny import make_config, run_here

PICTURES = ('train_batch.jpg', 'val_predictions.jpg', 'curves.png', 'labels.png')
FIGURES = (
    *('rpn_positives', 'rpn_negatives', 'rpn_unmatched'),
    *('roi_positives', 'roi_negatives', 'proposal_iou', 'proposals_missing'),
)
PARTS = ('backbone', 'neck', 'rpn_head', 'roi_head')
LOSSES = ('loss', 'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox')


class Terminal(io.StringIO):
    """Text that a terminal would be sent."""

    def isatty(self) -> bool:
        return True


class Tracker(BaseVisBackend):
    """A backend that keeps what it is sent."""

    experiment = None
    scalars: list[tuple[int, dict]] = []
    images: list[tuple[int, str, np.ndarray]] = []

    def _init_env(self) -> None:
        pass

    def add_scalars(self, scalar_dict, step=0, file_path=None, **kwargs) -> None:
        self.scalars.append((step, dict(scalar_dict)))

    def add_image(self, name, image, step=0, **kwargs) -> None:
        self.images.append((step, name, image))


@dataclass
class Trained:
    """A training of two epochs, and one more with ``--resume`` on a terminal."""

    folder: Path
    printed: str
    resumed: str = ''
    rows: list[list[dict[str, str]]] = field(default_factory=list)

    @property
    def work_dir(self) -> Path:
        return self.folder / 'run'


def train(folder: Path, epochs: int, *args: Any, stdout: Any = None) -> str:
    out = stdout or io.StringIO()
    settings = (f'train_cfg.max_epochs={epochs}', 'train_cfg.val_interval=1')
    with contextlib.redirect_stdout(out):
        code = run_here(
            'train',
            *(folder / 'tiny.py', '--work-dir', folder / 'run', '--device', 'cpu'),
            *(*args, '--cfg-options', *settings),
        )
    assert code == 0, out.getvalue()
    return out.getvalue()


def results(work_dir: Path) -> list[dict[str, str]]:
    with open(work_dir / 'results.csv', newline='') as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp('records')
    make_config(folder)
    (folder / 'run').mkdir()
    (folder / 'run/results.csv').write_text('mine,and,not,its\n1,2,3,4\n')
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        VISBACKENDS.register_module(module=Tracker, force=True)
        patch.setitem(trackers.BACKENDS, 'tensorboard', 'Tracker')
        patch.setattr(trackers, 'find_spec', lambda name: object())
        run = Trained(folder, train(folder, 2, '--log', 'tensorboard'))
    VISBACKENDS._module_dict.pop('Tracker')
    run.rows.append(results(run.work_dir))
    run.resumed = train(folder, 3, '--resume', stdout=Terminal())
    run.rows.append(results(run.work_dir))
    torch.set_num_threads(threads)
    return run


def logged(work_dir: Path, number: int) -> list[dict[str, float]]:
    """Return what mmengine wrote of the n-th run, in order."""
    log = sorted(work_dir.glob('*/vis_data/scalars.json'))[number]
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_results_are_what_mmengine_logged(trained: Trained) -> None:
    lines = logged(trained.work_dir, 0)
    steps = [line for line in lines if 'loss' in line]
    metrics = [line for line in lines if 'coco/bbox_mAP' in line]
    rows = trained.rows[0]
    assert len(rows) == len(metrics) == 2
    # The window of the log (50) is longer than the run: its last mean is the whole's.
    means = {name: steps[-1][name] for name in (*LOSSES, *FIGURES)}
    for name, mean in means.items():
        halves = [float(row[name]) for row in rows]
        assert np.mean(halves) == pytest.approx(mean, rel=1e-5)
        assert halves[0] == pytest.approx(steps[1][name], rel=1e-5)
    for row, line, step in zip(rows, metrics, steps[1::2], strict=True):
        assert float(row['lr']) == pytest.approx(step['lr'])
        assert int(row['iteration']) == step['iter']
        found = {k for k in line if k.startswith('coco/')}
        assert {'coco/bbox_mAP_75', 'coco/disc_precision'} <= found <= row.keys()
        for name in found:
            assert float(row[name]) == pytest.approx(line[name])
    assert [row['epoch'] for row in rows] == ['1', '2']


def test_gradients_are_in_the_log_and_not_on_the_console(trained: Trained) -> None:
    steps = [line for line in logged(trained.work_dir, 0) if 'loss' in line]
    for part in PARTS:
        found = [line[f'gradient_{part}'] for line in steps]
        assert min(found) > 0
        means = [float(row[f'gradient_{part}']) for row in trained.rows[0]]
        assert means == pytest.approx([np.mean(found[:2]), np.mean(found[2:])])
    assert 'loss_rpn_cls: ' in trained.printed
    for name in ('gradient', 'rpn_positives', 'proposal'):
        assert name not in trained.printed + trained.resumed


def test_a_resumed_run_goes_on_below(trained: Trained) -> None:
    before, after = trained.rows
    assert after[:2] == before
    assert [row['iteration'] for row in after] == ['2', '4', '6']


def test_a_foreign_file_is_put_aside(trained: Trained) -> None:
    (aside,) = trained.work_dir.glob('results_before_*.csv')
    assert aside.read_text().startswith('mine,and,not,its')
    assert 'WARNING: ' in trained.printed and str(aside) in trained.printed


def test_the_console_is_short_and_plain(trained: Trained) -> None:
    printed = trained.printed
    assert '\r' not in printed and '\x1b' not in printed
    before, first, after = printed.partition('Epoch 1/2 [1/4]')
    assert first and len(before.splitlines()) <= 25
    for words in (
        'boxes    14: box 8, disc 6',
        'Training on cpu (1 process): 8 images, 4 an iteration',
        'made for 16 images an iteration and not scaled',
        'ResNet-18, FPN',
        'schedule constant',
        'every 1 epochs, on 8 images',
        str(trained.work_dir),
    ):
        assert words in before
    assert 'eta: 0:00:0' in after and 'images/s: ' in after
    assert 'memory' not in after  # there is no GPU
    assert after.count('Validation on 8 images after iteration') == 2
    assert 'AP of each class: box 0.' in after
    assert f'best  {trained.work_dir}/epoch_' in after
    for noise in ('System environment', 'Hooks will be', 'index...', 'FileClient'):
        assert noise not in printed


def test_the_log_file_has_it_all(trained: Trained) -> None:
    (first, _) = sorted(trained.work_dir.glob('*/*.log'))
    text = first.read_text()
    for words in (
        *('System environment', 'Hooks will be executed', 'Epoch(train) [2][2/2]'),
        *('boxes    14: box 8', 'Average Precision', "classes=(\n        'box'"),
    ):
        assert words in text


def test_a_terminal_sees_a_bar(trained: Trained) -> None:
    assert '\r' in trained.resumed
    drawn = trained.resumed.split('\r')
    assert any('100%' in bar and '6/6' in bar and 'loss: ' in bar for bar in drawn)
    assert 'resumed  after iteration 4' in trained.resumed


def test_every_picture_is_there(trained: Trained) -> None:
    for name in PICTURES:
        picture = cv2.imread(str(trained.work_dir / name))
        assert picture is not None and picture.std() > 10, name


def test_the_batch_shows_the_images_in_the_order_they_were_fed(trained) -> None:
    sheet = cv2.imread(str(trained.work_dir / 'train_batch.jpg')).astype(float)
    width, height = pictures.FED_TILE
    assert sheet.shape == (2 * height, 4 * width, 3)
    files = sorted((trained.folder / 'data/images').iterdir())
    images = [cv2.resize(cv2.imread(str(f)), (474, 356)).astype(float) for f in files]
    for place in range(8):
        row, column = divmod(place, 4)
        tile = sheet[row * height :, column * width :][:356, :474]
        distances = [np.abs(tile - image).mean() for image in images]
        assert np.argmin(distances) == place
        assert distances[place] < 10


def test_predictions_show_the_first_images_twice(trained: Trained) -> None:
    sheet = cv2.imread(str(trained.work_dir / 'val_predictions.jpg'))
    width, height = pictures.PAIR_TILE
    assert sheet.shape == (3 * height, 2 * width, 3)
    pair = sheet[:height, :width].astype(float)
    red = (pair[..., 2] > 180) & (pair[..., 1] < 90)  # the box of 001.png
    columns = np.flatnonzero(red.sum(axis=0) > 20)
    assert np.diff(columns).max() > width / 4  # in two pictures side by side


def test_a_tracker_gets_scalars_and_pictures_by_iteration(trained: Trained) -> None:
    losses = [step for step, one in Tracker.scalars if 'loss' in one]
    metrics = [step for step, one in Tracker.scalars if 'coco/bbox_mAP' in one]
    assert (losses, metrics) == ([1, 2, 3, 4], [2, 4])
    assert {name for _, name, _ in Tracker.images} == set(PICTURES)
    for _, _, image in Tracker.images:
        assert image.dtype == np.uint8 and image.shape[2] == 3
    sent = next(image for _, name, image in Tracker.images if name == 'train_batch.jpg')
    red = sent[..., 0].astype(int) - sent[..., 2] > 100
    assert 0.02 < red.mean() < 0.2  # RGB: the boxes are red


def test_curves_go_over_both_runs(trained: Trained) -> None:
    losses, metrics = pictures.history(trained.work_dir)
    assert losses['loss'][0] == [1, 2, 3, 4, 5, 6]
    steps = [x for run in (0, 1) for x in logged(trained.work_dir, run) if 'loss' in x]
    assert losses['loss'][1] == [step['loss'] for step in steps]
    assert metrics['coco/bbox_mAP'][0] == [2, 4, 6]
    assert not any(name.endswith('precision') for name in metrics)


def test_a_picture_that_fails_is_a_warning(trained: Trained, tmp_path) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError('no ink')

    make_config(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, 'draw_curves', broken)
        patch.setattr(pictures, 'draw_labels', broken)
        printed = train(tmp_path, 1, '--verbose')
    assert 'labels.png was not made: RuntimeError: no ink' in printed
    assert 'System environment' in printed  # --verbose
    assert 'index created!' in printed
    assert (tmp_path / 'run/epoch_1.pth').is_file()
    assert not (tmp_path / 'run/curves.png').exists()
