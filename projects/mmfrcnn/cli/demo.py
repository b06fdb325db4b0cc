"""The first try: shapes made, a detector trained, evaluated and looked at."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint

from mmfrcnn.cli.config import load_config
from mmfrcnn.cli.runtime import choose_device
from mmfrcnn.errors import UserError
from mmfrcnn.visualization.panels import write_panels

CONFIG = 'mmfrcnn::shapes/faster-rcnn_r18_fpn_shapes.py'


def run(args: argparse.Namespace) -> int:
    """Train, test, draw; print the pictures' folder and, last, the box AP.

    Args:
        args (argparse.Namespace): ``work_dir``, ``num_pictures`` and ``cfg_options``.

    Returns:
        int: The exit code of the step that failed, or 0.
    """
    config = load_config(CONFIG, args.cfg_options)
    work_dir = Path(args.work_dir)
    checkpoint = work_dir / f'iter_{config.train_cfg.max_iters}.pth'
    options = ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    if checkpoint.exists():
        print(f'{checkpoint} is trained already; to train again, remove {work_dir}')
    else:
        folder = ['--work-dir', str(work_dir), '--resume']
        code = _tool('train', CONFIG, *folder, *options)
        if code:
            return code
    test_dir = work_dir / 'test'
    folder = ['--work-dir', str(test_dir)]
    code = _tool('test', CONFIG, str(checkpoint), *folder, *options)
    if code:
        return code
    files = _draw(config, checkpoint, work_dir / 'pictures', args.num_pictures)
    print(f'Pictures: {files[0]} and {len(files) - 1} more beside it')
    print(f'bbox_mAP = {_last_average_precision(test_dir):.3f}')
    return 0


def _tool(name: str, *arguments: str) -> int:
    """Run another tool in a process of its own, as a user would."""
    command = [sys.executable, '-m', 'mmfrcnn', name, *arguments]
    return subprocess.run(command).returncode


def _draw(config: Config, checkpoint: Path, folder: Path, count: int) -> list[Path]:
    """Draw pictures spread evenly over the held-out ones."""
    init_default_scope('mmdet')
    device = choose_device(None)
    model = MODELS.build(config.model)
    load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    last = len(dataset) - 1
    indices = np.linspace(0, last, min(count, last + 1)).astype(int).tolist()
    return write_panels(model.to(device).eval(), dataset, indices, folder)


def _last_average_precision(folder: Path) -> float:
    """Read the newest result that the test left in its work folder."""
    results = sorted(folder.glob('*/*.json'), key=lambda file: file.stat().st_mtime)
    for file in reversed(results):
        for line in reversed(file.read_text().splitlines()):
            if 'coco/bbox_mAP' in line:
                return float(json.loads(line)['coco/bbox_mAP'])
    raise UserError(f'no result in {folder}: the test wrote none')
