"""Variables of a config file, set from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import mmfrcnn  # noqa: F401
from mmfrcnn.cli.config import leaves, load_config
from mmfrcnn.errors import UserError

REPO = Path(__file__).resolve().parents[2]
COCO = str(REPO / 'configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
SHAPES = str(REPO / 'configs/shapes/faster-rcnn_r18_fpn_shapes.py')


def texts(config) -> dict[str, str]:
    return {path: v for path, v in leaves(config) if isinstance(v, str)}


@pytest.mark.parametrize('path', [COCO, SHAPES])
@pytest.mark.parametrize('root', ['/else/where', '/else/where/'])
def test_data_root_reaches_everything_made_from_it(path: str, root: str) -> None:
    before = load_config(path)
    after = texts(load_config(path, [f'data_root={root}']))
    assert after['test_evaluator.ann_file'].startswith('/else/where/annotations/')
    for split in ('train', 'val', 'test'):
        assert after[f'{split}_dataloader.dataset.data_root'] == '/else/where/'
    old = before['data_root']
    expected = {key: v.replace(old, '/else/where/') for key, v in texts(before).items()}
    assert after == expected


def test_configs_with_a_data_root_takes_another() -> None:
    for path in sorted(REPO.glob('configs/[!_]*/*.py'))[::16]:
        config = load_config(str(path))
        if isinstance(config.get('data_root'), str):
            moved = texts(load_config(str(path), ['data_root=/else/where']))
            old = config['data_root'].rstrip('/')
            assert not [k for k, v in moved.items() if v.startswith(f'{old}/')], path


def test_expressions_are_worked_out_anew_and_settings_still_win() -> None:
    options = ['max_iters=7', 'param_scheduler.1.begin=2', 'train_cfg.val_interval=3']
    config = load_config(SHAPES, options)
    assert config.train_cfg.max_iters == 7
    assert config.param_scheduler[1].end == 7
    assert config.param_scheduler[1].begin == 2
    assert config.train_cfg.val_interval == 3


CHILD = """
_base_ = './base.py'
a = 'x/'
model = dict(type=a + 'y', other={{_base_.a}})
"""
UNCLEAR = ["a = 'x'\na += 'y'", "a, b = 'xy'", "for a in 'xy': pass"]


def test_bases_see_the_variable_too(tmp_path: Path) -> None:
    (tmp_path / 'base.py').write_text("a = 'b/'\nwork_dir = a + 'z'")
    (tmp_path / 'child.py').write_text(CHILD)
    config = load_config(str(tmp_path / 'child.py'), ['a=new'])
    assert config.model == {'type': 'new/y', 'other': 'new/'}
    assert config.work_dir == 'new/z'


@pytest.mark.parametrize('text', UNCLEAR)
def test_what_is_not_clear_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'c.py'
    path.write_text(f'{text}\nmodel = dict(type=a)')
    with pytest.raises(UserError, match='not clear'):
        load_config(str(path), ['a=z'])


def test_wrong_kinds_and_idle_variables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'c.py'
    path.write_text('a = [dict(b=1)]\nc = 2\nmodel = dict(d=a)')
    with pytest.raises(UserError, match="'a' of the config is a list of dicts"):
        load_config(str(path), ['a=3'])
    with pytest.raises(UserError, match='would change nothing'):
        load_config(str(path), ['c=3'])
    with pytest.raises(UserError, match='a part of it cannot be set'):
        load_config(str(path), ['a.0.b=3'])
