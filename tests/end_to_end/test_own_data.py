"""A user's YOLO folder with no class named in the config: convert, train, predict."""

from __future__ import annotations

import json
from pathlib import Path

from .tiny import make_config, run_tool

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
