"""Every command and config of the README, as written, on tiny data and budgets."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmdet.registry import DATASETS
from PIL import Image

from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.cli.config import load_config
from mmfrcnn.compat import doctor
from mmfrcnn.compat.doctor import probes
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn_console import COMMANDS
from tests.tools import run_forked

CLASSES = ('cat', 'dog')
# What a test cannot wait for is shortened; nothing else of a command is changed.
QUICK_LOADERS = [
    f'{split}_dataloader.{setting}'
    for split in ('train', 'val', 'test')
    for setting in ('num_workers=0', 'persistent_workers=False', 'batch_size=2')
]
QUICK_SHAPES = [
    *QUICK_LOADERS,
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'default_hooks.checkpoint.interval=2',
    'param_scheduler=[]',
]
QUICK_PETS = [*QUICK_LOADERS, 'max_epochs=1', 'train_cfg.val_interval=1']


def blocks(path: Path, language: str) -> list[str]:
    pattern = rf'^```{language}\n(.*?)^```'
    return re.findall(pattern, path.read_text('utf-8'), re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[str]:
    return [line for block in blocks(path, 'bash') for line in block.splitlines()]


@pytest.fixture(scope='module')
def checkout(tmp_path_factory, repo_root):
    """Return a copy of what the commands need, with tiny data in its place."""
    root = tmp_path_factory.mktemp('checkout')
    for name in ('configs', 'tools'):
        shutil.copytree(repo_root / name, root / name)
    draw_pets(root / 'data' / 'pets')
    run('python tools/make_shapes.py --out data/shapes --num-train 4 --num-val 2', root)
    return root


def draw_pets(folder: Path) -> None:
    """Draw pictures of one bright rectangle each; write COCO JSON for both splits."""
    random = np.random.default_rng(0)
    (folder / 'images').mkdir(parents=True)
    for split, numbers in (('train', range(4)), ('val', range(4, 6))):
        images, annotations = [], []
        for number in numbers:
            x, y, w, h = 20 + number, 30, 60, 50
            pixels = random.integers(0, 90, (120, 160, 3), dtype=np.uint8)
            pixels[y : y + h, x : x + w] = 200
            name = f'{number}.jpg'
            Image.fromarray(pixels).save(folder / 'images' / name)
            images.append(dict(id=number, file_name=name, width=160, height=120))
            annotations.append(
                dict(
                    id=number + 1,
                    image_id=number,
                    category_id=number % 2 + 1,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                )
            )
        categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
        content = dict(images=images, annotations=annotations, categories=categories)
        (folder / f'{split}.json').write_text(json.dumps(content))


def write_voc(folder: Path) -> None:
    """Say the same in Pascal VOC XML, in the usual folders."""
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    for split in ('train', 'val'):
        content = json.loads((folder / f'{split}.json').read_text())
        for image, annotation in zip(
            content['images'], content['annotations'], strict=True
        ):
            stem = Path(image['file_name']).stem
            shutil.copy(folder / 'images' / image['file_name'], folder / 'JPEGImages')
            x, y, w, h = annotation['bbox']
            corners = zip(
                ('xmin', 'ymin', 'xmax', 'ymax'), (x, y, x + w, y + h), strict=True
            )
            box = ''.join(f'<{side}>{value + 1}</{side}>' for side, value in corners)
            (folder / 'Annotations' / f'{stem}.xml').write_text(
                '<annotation><size><width>160</width><height>120</height></size><object>'
                f'<name>{CLASSES[annotation["category_id"] - 1]}</name>'
                f'<bndbox>{box}</bndbox></object></annotation>'
            )
        stems = [Path(image['file_name']).stem for image in content['images']]
        (folder / 'ImageSets/Main' / f'{split}.txt').write_text('\n'.join(stems))


def run(command: str, root: Path, options: list[str] | None = None) -> str:
    words = shlex.split(command)
    if options:
        words += ['--cfg-options', *options]
    if words[0] == 'mmfrcnn':
        words[:2] = ['python', f'tools/{COMMANDS[words[1]][0]}.py']
    if words[0] == 'python':
        result = run_forked([str(root / words[1]), *words[2:]], root, timeout=300)
    else:
        result = subprocess.run(
            words, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    assert result.returncode == 0, f'{command}\n{result.stdout}\n{result.stderr}'
    return result.stdout


def test_every_command_is_known(repo_root):
    """A command that is added to the README needs its test here."""
    known = re.compile(
        r'make \w+|source \.venv/bin/activate|python tools/doctor\.py'
        r'|mmfrcnn|mmfrcnn train mmfrcnn::shapes/.*'
        r'|mmfrcnn (new data/pets|browse pets\.py .*|train pets\.py'
        r'|report work_dirs/pets)'
        r'|python tools/\w+\.py .*configs/shapes/.*'
    )
    unknown = [
        line for line in commands(repo_root / 'README.md') if not known.fullmatch(line)
    ]
    assert not unknown


def test_make_targets(repo_root):
    targets = [
        line for line in commands(repo_root / 'README.md') if line[:5] == 'make '
    ]
    assert {'make demo', 'make test'} <= set(targets)
    for target in targets:
        run(target.replace('make', 'make --dry-run', 1), repo_root)


def test_doctor(repo_root, tmp_path, monkeypatch, capsys):
    """Its probes forked: new interpreters are of tests/compat/test_doctor.py."""

    def forked(command, **options):
        assert command[:-1] == [sys.executable, '-W', 'ignore', '-c']
        probe = tmp_path / f'{uuid.uuid4()}.py'
        probe.write_text(command[-1])
        return run_forked([str(probe)], repo_root)

    monkeypatch.setattr(probes, 'subprocess', SimpleNamespace(run=forked))
    monkeypatch.setattr(sys, 'argv', ['doctor.py'])
    assert 'python tools/doctor.py' in commands(repo_root / 'README.md')
    assert doctor.main() == 0
    found = capsys.readouterr().out
    assert 'WRONG' not in found
    # These tests run, so these packages do.
    for name in ('torch', 'torchvision', 'numpy', 'import mmdet'):
        assert f'ok    {name} ' in found


def test_installed(repo_root):
    """That a training from `mmfrcnn::` runs, tests/packaging/test_console.py shows."""
    lines = [
        shlex.split(line)
        for line in commands(repo_root / 'README.md')
        if line.startswith('mmfrcnn') and 'pets' not in line
    ]
    (alone, (_, command, config)) = lines
    assert alone == ['mmfrcnn'] and command in COMMANDS
    assert load_config(config).model.type == 'BatchedFasterRCNN'


def test_train_test_predict_browse(checkout, repo_root):
    """The four commands in their order; the checkpoint is that of fewer iterations."""
    lines = [
        line for line in commands(repo_root / 'README.md') if 'configs/shapes/' in line
    ]
    assert [re.search(r'tools/(\w+)', line)[1] for line in lines] == [
        'train',
        'test',
        'predict',
        'browse_dataset',
    ]
    run(lines[0], checkout, QUICK_SHAPES)
    work_dir = checkout / 'work_dirs' / 'faster-rcnn_r18_fpn_shapes'
    assert f'{work_dir.relative_to(checkout)}/iter_1300.pth' in lines[1]
    (work_dir / 'iter_2.pth').rename(work_dir / 'iter_1300.pth')
    assert 'bbox_mAP' in run(lines[1], checkout, QUICK_LOADERS)
    run(lines[2], checkout)
    predictions = json.loads((checkout / 'predictions/predictions.json').read_text())
    assert len(predictions['images']) == 2
    run(lines[3], checkout)
    assert list((checkout / 'browse').rglob('*.png'))


def test_own_data(checkout, repo_root):
    """The README's four commands on COCO JSON."""
    lines = [line for line in commands(repo_root / 'README.md') if 'pets' in line]
    assert len(lines) == 4
    assert 'Next: mmfrcnn train pets.py' in run(lines[0], checkout)
    run(lines[1], checkout)
    assert list((checkout / 'browse').rglob('*.png'))
    assert 'bbox_mAP' in run(lines[2], checkout, QUICK_PETS)
    assert list((checkout / 'work_dirs' / 'pets').glob('best_*.pth'))
    run(lines[3], checkout)
    assert (checkout / 'work_dirs' / 'pets' / 'report.html').is_file()


def test_own_data_by_hand(checkout, repo_root, monkeypatch):
    """The guide's config for COCO JSON is one that runs."""
    monkeypatch.chdir(checkout)
    config = checkout / 'by_hand.py'
    config.write_text(blocks(repo_root / 'docs/own_data.md', 'python')[0])
    loaded = load_config(str(config))
    check_registered(loaded)
    resolve_classes(loaded)
    for split, images in (('train', 4), ('val', 2)):
        dataset = DATASETS.build(loaded[f'{split}_dataloader'].dataset)
        assert len(dataset) == images
        assert (
            sum(
                len(info['instances'])
                for info in map(dataset.get_data_info, range(images))
            )
            == images
        )


def test_own_voc_data(checkout, repo_root):
    """The config of the guide trains on Pascal VOC XML and evaluates."""
    write_voc(checkout / 'data' / 'pets')
    config = blocks(repo_root / 'docs/own_data.md', 'python')[1]
    (checkout / 'configs' / 'voc_pets.py').write_text(config)
    quick = [*QUICK_LOADERS, 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    quick.append('model.backbone.init_cfg=None')  # or it would read ImageNet weights
    assert 'bbox_mAP' in run(
        'python tools/train.py configs/voc_pets.py', checkout, quick
    )
