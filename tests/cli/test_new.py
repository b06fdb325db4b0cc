"""``mmfrcnn new``: what it writes runs, whatever the format; what it never does."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import mmfrcnn  # noqa: F401  (before mmdet)

# isort: split
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config

from mmfrcnn.cli.checking.registered import check_registered
from mmfrcnn.cli.config import load_config
from mmfrcnn.cli.new import run
from mmfrcnn.cli.starting import choices
from mmfrcnn.data.class_names import resolve_classes
from mmfrcnn.errors import UserError
from tests.data.discovery.exports import (
    CLASSES,
    LAYOUTS,
    TRUTH,
    coco_one_folder_of_images,
    labelme_in_one_folder,
    picture,
    voc_labelimg,
    voc_roboflow,
    write,
)
from tests.tools import run_tool

LIGHT = choices.Network('mobilenet-v2', 'for a test')


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of its own; the network is the same everywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(choices, 'choose_network', lambda device: LIGHT)
    return tmp_path


def new(data: str, **given) -> None:
    defaults = dict(out=None, format=None, flip=None, seed=0)
    run(argparse.Namespace(data=data, **{**defaults, **given}))


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


@pytest.mark.parametrize(
    'name',
    [
        *('coco_roboflow', 'coco_cvat', 'yolo_ultralytics', 'yolo_beside_the_images'),
        *('voc_2007', 'voc_labelimg', 'csv_vott', 'labelme_in_splits', 'label_studio'),
    ],
)
def test_what_is_written_runs(folder, capsys, name):
    write_layout, _, splits = LAYOUTS[name]
    write_layout(folder / 'data/pets')
    before = snapshot(folder / 'data/pets')
    new('data/pets')
    assert snapshot(folder / 'data/pets') == before
    assert 'Next: mmfrcnn train pets.py' in capsys.readouterr().out
    text = Path('pets.py').read_text()
    assert len(text.splitlines()) <= 30
    config = load_config('pets.py')
    check_registered(config)
    resolve_classes(config)
    assert config.model.roi_head.bbox_head.num_classes == 2
    found: dict[str, set[str]] = {}
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build(config[f'{split}_dataloader'].dataset)
        assert dataset.metainfo['classes'] == tuple(CLASSES)
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        assert all(Path(info['img_path']).is_file() for info in infos)
        for info in infos:
            boxes = [tuple(one['bbox']) for one in info['instances']]
            assert boxes == [box for _, box in TRUTH[Path(info['img_path']).name]]
        found[split] = {Path(info['img_path']).name for info in infos}
        assert dataset[0]['inputs'].shape[0] == 3
    assert not found['train'] & found['val'] and found['train'] and found['val']
    assert found['train'] | found['val'] == set(TRUTH)
    if 'val' in splits:
        assert found['val'] == set(splits['val'])
        assert not Path('data/pets.splits').exists()
    else:
        lists = sorted(path.name for path in Path('data/pets.splits').iterdir())
        assert lists == ['train.txt', 'val.txt']


def test_it_trains_and_evaluates(folder):
    labelme_in_one_folder(folder / 'pets')
    new('pets', flip='yes')
    options = [
        'model.backbone.weights=None',
        'max_epochs=1',
        'train_cfg.val_interval=1',
        *(
            f'{split}_dataloader.{key}'
            for split in ('train', 'val', 'test')
            for key in ('num_workers=0', 'persistent_workers=False')
        ),
    ]
    # The command line's own --out and so on are those of tools/new.py.
    done = run_tool('train.py', 'pets.py', '--cfg-options', *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert 'bbox_mAP' in done.stdout
    assert list(Path('work_dirs/pets').glob('*.pth'))


def test_the_tool_itself_and_its_refusal(folder):
    voc_roboflow(folder / 'pets')
    done = run_tool('new.py', 'pets', '--out', 'mine.py', '--flip', 'no', cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "'RandomFlip'" not in Path('mine.py').read_text()
    assert 'Written by: mmfrcnn new pets --flip no --out mine.py' in (
        Path('mine.py').read_text()
    )
    again = run_tool('new.py', 'pets', '--out', 'mine.py', cwd=folder)
    assert again.returncode == 2
    assert 'error: mine.py is there already. Name another file' in again.stderr


def test_the_same_again_gives_the_same_and_other_lists_are_kept(folder):
    voc_labelimg(folder / 'pets')
    new('pets')
    lists = snapshot(folder / 'pets.splits')
    new('pets', out='again.py')
    changed = Path('again.py').read_text().replace(' --out again.py', '')
    assert changed == Path('pets.py').read_text()
    assert {k: v[1] for k, v in snapshot(folder / 'pets.splits').items()} == {
        k: v[1] for k, v in lists.items()
    }
    picture(folder / 'pets/e.jpg')
    xml = (folder / 'pets/a.xml').read_text()
    write(folder / 'pets/e.xml', xml)
    with pytest.raises(UserError, match=r'pets\.splits/\w+\.txt is there already, of'):
        new('pets', out='third.py')
    assert not Path('third.py').exists()


def test_no_module_of_python_is_hidden(folder):
    voc_labelimg(folder / 'csv')
    new('csv')
    assert Path('csv_data.py').exists() and not Path('csv.py').exists()


def test_a_folder_that_is_not_there_is_named_first(folder):
    with pytest.raises(UserError, match=r'--out no/a\.py: there is no folder no'):
        new('pets', out='no/a.py')


def test_pictures_in_two_splits_are_named(folder, capsys):
    coco_one_folder_of_images(folder / 'pets')
    images = folder / 'pets/images'
    (images / 'c.jpg').write_bytes((images / 'a.jpg').read_bytes())
    new('pets')
    assert (
        '1 of 2 images of val are equal or nearly equal to images of train, so '
        'figures on one flatter what was trained on the other: c.jpg'
    ) in capsys.readouterr().out


def test_alike_pictures_are_held_out_together(folder):
    voc_labelimg(folder / 'pets')
    for copy in 'uvwxyz':
        for suffix in ('.jpg', '.xml'):
            original = (folder / f'pets/a{suffix}').read_bytes()
            (folder / f'pets/{copy}{suffix}').write_bytes(original)
    new('pets')
    for part in ('train', 'val'):
        names = set(Path(f'pets.splits/{part}.txt').read_text().split())
        assert len(names & set('auvwxyz')) in (0, 7)
    assert '6 images like another stay with it' in Path('pets.py').read_text()


def test_nothing_to_train_on_is_said(folder):
    voc_roboflow(folder / 'pets')
    for file in (folder / 'pets/train').iterdir():
        file.unlink()
    with pytest.raises(UserError, match='it has val, and nothing to train on'):
        new('pets')
    assert os.listdir() == ['pets']


def test_one_image_alone_is_refused(folder):
    picture(folder / 'pets/a.jpg')
    write(folder / 'pets/classes.txt', 'cat\n')
    write(folder / 'pets/a.txt', '0 .5 .5 .5 .5')
    with pytest.raises(UserError, match='there is one image to train on'):
        new('pets')
    assert os.listdir() == ['pets']


def test_names_with_quotes_and_spaces_stay_what_they_are(folder):
    names = ['d\'or "x"', 'a, b', '\\n']
    content = {
        'images': [
            dict(id=i, file_name=f'{i}.jpg', width=64, height=48) for i in (1, 2)
        ],
        'annotations': [
            dict(id=i, image_id=i, category_id=c, bbox=[5, 5, 20, 20])
            for i, c in ((1, 1), (2, 2))
        ],
        'categories': [dict(id=i, name=name) for i, name in enumerate(names, 1)],
    }
    write(folder / "it's data/x.json", content)
    for number in (1, 2):
        picture(folder / f"it's data/{number}.jpg")
    new("it's data", out='mine.py')
    config = Config.fromfile('mine.py')
    assert config.classes == tuple(names)
    assert config.train_dataloader.dataset.data_root == "it's data"


@pytest.mark.parametrize('epochs', [1, 12, 100, 5000])
def test_the_warm_up_is_a_tenth_of_the_run_whatever_its_length(folder, epochs):
    voc_labelimg(folder / 'pets')
    new('pets')
    config = load_config('pets.py', [f'max_epochs={epochs}'])
    iterations = epochs * len(Path('pets.splits/train.txt').read_text().split())
    warm_up = config.param_scheduler[0].end
    assert config.train_dataloader.batch_size == 1
    assert warm_up == max(1, min(500, iterations // 10))
    assert config.param_scheduler[1].T_max == config.train_cfg.max_epochs == epochs


def test_a_folder_name_is_no_code(folder):
    name = 'pets\nimport os; os.mkdir("executed")\n#'
    voc_labelimg(folder / name)
    new(name, out='mine.py')
    config = Config.fromfile('mine.py')
    assert config.common.data_root == name
    assert not Path('executed').exists()


def test_a_rare_class_is_shown_more_often(folder):
    for number in range(90):
        picture(folder / f'pets/{number}.jpg')
        label = int(number % 30 == 0)
        write(folder / f'pets/{number}.txt', f'{label} .5 .5 .5 .5')
    write(folder / 'pets/classes.txt', 'cat\nlynx\n')
    new('pets')
    assert len(Path('pets.py').read_text().splitlines()) <= 30
    dataset = DATASETS.build(load_config('pets.py').train_dataloader.dataset)
    shown = [dataset.get_data_info(index) for index in range(len(dataset))]
    lynxes = [info for info in shown if info['instances'][0]['bbox_label'] == 1]
    assert len(lynxes) > len({info['img_id'] for info in lynxes}) >= 1
    assert len(shown) - len(lynxes) == len(
        {info['img_id'] for info in shown if info not in lynxes}
    )
