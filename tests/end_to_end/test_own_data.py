"""A user's own data: a YOLO folder with no class named in the config, a few images."""

from __future__ import annotations

import json
from pathlib import Path

from mmengine.config import Config

from tests.tools import REPO, run_tool

from .tiny import make_config

META_KEYS = (
    "('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')"
)


def test_classes_and_outputs_follow_the_data(tmp_path):
    config = make_config(tmp_path)
    source, target = tmp_path / 'data/train.json', tmp_path / 'yolo'
    flags = ['--from', 'coco', '--to', 'yolo', '--image-dir', tmp_path / 'data/images']
    result = run_tool('convert_dataset.py', *flags, source, target)
    assert result.returncode == 0, result.stderr
    assert 'marked crowd or difficult, for which YOLO has no mark: 2' in result.stdout
    as_yolo(config, target)
    work_dir = tmp_path / 'run'
    result = run_tool('train.py', config, '--work-dir', work_dir, '--device', 'cpu')
    assert result.returncode == 0, result.stderr
    assert '2 classes of' in result.stdout and 'num_classes from 80' in result.stdout
    assert 'boxes    14: box 8, disc 6' in result.stdout + result.stderr
    out = tmp_path / 'out'
    flags = ['--device', 'cpu', '--out-dir', out]
    checkpoint = work_dir / 'epoch_1.pth'
    images = tmp_path / 'data/images'
    result = run_tool('predict.py', images, config, checkpoint, *flags)
    assert result.returncode == 0, result.stderr
    assert json.loads((out / 'predictions.json').read_text())


def as_yolo(config: Path, folder: Path) -> None:
    """Make the tiny config read a YOLO folder, evaluate after its one epoch."""
    text = config.read_text()
    for old, new in (
        ("type='CocoDataset', metainfo=metainfo,", "type='YoloDataset',"),
        (f"data_root='{folder.parent / 'data'}'", f"data_root='{folder}'"),
        (
            "ann_file='train.json', data_prefix=dict(img='images')",
            "data_prefix=dict(img='images/train')",
        ),
        (f"ann_file='{folder.parent / 'data'}/train.json', ", ''),
        (
            "dict(type='PackDetInputs')",
            f"dict(type='PackDetInputs', meta_keys={META_KEYS})",
        ),
        ('num_classes=2', 'num_classes=80'),
        ('max_epochs=2, val_interval=10', 'max_epochs=1, val_interval=1'),
    ):
        assert old in text, old
        text = text.replace(old, new)
    config.write_text(text)


def said_before_training(folder: Path, more: str) -> str:
    """Train the tiny config with more settings; return the log up to iteration 1."""
    (folder / 'mine.py').write_text(f"_base_ = './tiny.py'\n{more}")
    result = run_tool('train.py', folder / 'mine.py', '--work-dir', folder / 'run')
    assert result.returncode == 0, result.stderr
    before, first, _ = (result.stdout + result.stderr).partition('eta: ')
    assert first
    return before


def test_a_recipe_for_more_images_says_so_before_its_first_iteration(tmp_path):
    """As the README's: a config of COCO's schedule as base, on a few images."""
    make_config(tmp_path)
    recipe = Config.fromfile(REPO / 'configs/_base_/schedules/schedule_1x.py')
    text = f'param_scheduler = {recipe.to_dict()["param_scheduler"]!r}'
    said = said_before_training(tmp_path, text)
    assert 'LinearLR warms up for 500 iterations, longer than the run' in said
    assert 'MultiStepLR has milestones that are never reached: 8, 11' in said


def test_the_schedule_of_each_step_of_alternating_training_is_looked_at(tmp_path):
    make_config(tmp_path)
    said = said_before_training(
        tmp_path,
        "model = dict(type='AlternatingFasterRCNN')\n"
        "train_cfg = dict(_delete_=True, type='AlternatingTrainLoop',\n"
        '    rpn=dict(max_iters=2, param_scheduler=[]),\n'
        '    rcnn=dict(max_iters=2, param_scheduler=[dict(\n'
        "        type='LinearLR', start_factor=0.1, by_epoch=False, end=30)]))\n",
    )
    assert 'train_cfg.rcnn: param_scheduler: LinearLR warms up for 30' in said
    assert 'train_cfg.rpn: param_scheduler' not in said
