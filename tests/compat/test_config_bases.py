"""``mmfrcnn::`` names a shipped config: as a base, to mmengine, to the tools."""

from __future__ import annotations

import mmengine.registry
import pytest
import yaml
from mmdet.datasets.transforms import PackDetInputs
from mmengine.config import Config
from mmengine.hub import get_config

from mmfrcnn.cli.checking.registered import LAYER_CONFIGS, check_registered
from mmfrcnn.cli.config import leaves, load_config
from mmfrcnn.compat import config_bases
from mmfrcnn.compat.config_bases import config_path, shipped_configs
from mmfrcnn.errors import UserError

SHAPES = 'mmfrcnn::shapes/faster-rcnn_r18_fpn_shapes.py'
COCO = 'mmfrcnn::_base_/datasets/coco_detection.py'


def without_scopes(node):
    if isinstance(node, dict):
        return {k: without_scopes(v) for k, v in node.items() if k != '_scope_'}
    if isinstance(node, list | tuple):
        return type(node)(map(without_scopes, node))
    return node


@pytest.mark.parametrize(
    'name',
    [
        SHAPES,
        'mmfrcnn::alternating/faster-rcnn_r18_fpn_alternating_shapes.py',
        'mmfrcnn::augmentation/faster-rcnn_r50_fpn_mosaic_1x_coco.py',
        'mmfrcnn::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
        'mmfrcnn::faster_rcnn/faster-rcnn_r50-gn_fpn_2x_coco.py',
    ],
)
def test_as_a_base_it_is_the_config_in_the_scope_of_mmdet(tmp_path, name):
    mine = tmp_path / 'mine.py'
    mine.write_text(f'_base_ = {name!r}\n')
    config = load_config(str(mine))
    assert (
        without_scopes(config.to_dict()) == Config.fromfile(config_path(name)).to_dict()
    )
    scoped = {
        path: node['_scope_']
        for path, node in leaves(config)
        if isinstance(node, dict) and '_scope_' in node
    }
    assert set(scoped.values()) == {'mmdet'} and 'model' in scoped
    # mmcv's layer builders would hand it on to the layer.
    assert not [path for path in scoped if path.endswith(LAYER_CONFIGS)]
    check_registered(config)
    again = Config.fromstring(config.pretty_text, '.py')
    assert again.to_dict() == config.to_dict()


def test_a_part_of_it_in_a_config_of_another_scope(tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text(f"_base_ = {COCO!r}\ndefault_scope = 'mmengine'\n")
    packing = Config.fromfile(mine).test_pipeline[-1]
    assert isinstance(mmengine.registry.TRANSFORMS.build(packing), PackDetInputs)


def test_other_packages_bases_stay_theirs(tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text("_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'")
    assert Config.fromfile(mine).model.roi_head.type == 'StandardRoIHead'
    mine.write_text("_base_ = 'mmnothing::a/b.py'")
    with pytest.raises(AssertionError, match='mmnothing'):
        Config.fromfile(mine)


@pytest.mark.parametrize('name', [SHAPES, COCO])
def test_the_hub_of_mmengine(name):
    assert get_config(name).to_dict() == Config.fromfile(config_path(name)).to_dict()


def test_the_index_lists_every_metafile():
    index = yaml.safe_load((config_bases.FOLDER.parent / 'model-index.yml').read_text())
    files = config_bases.FOLDER.glob('*/metafile.yml')
    assert sorted(index['Import']) == sorted(
        f'configs/{file.parent.name}/metafile.yml' for file in files
    )


def test_as_an_argument_of_a_tool():
    assert load_config(SHAPES, ['data_root=mine']).data_root == 'mine/'
    assert SHAPES in shipped_configs() and COCO not in shipped_configs()


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (SHAPES.replace('shapes.py', 'shape.py'), f"Did you mean '{SHAPES}'"),
        ('configs/shapes/faster-rcnn_r18_fpn_shapes.py', f"Did you mean '{SHAPES}'"),
        ('mmfrcnn::', 'no such config file: mmfrcnn::.'),
    ],
)
def test_a_name_that_is_not_there(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='no such config file') as caught:
        load_config(name)
    assert message in str(caught.value)
    (tmp_path / 'mine.py').write_text(f'_base_ = {name!r}\n')
    with pytest.raises(UserError, match=r'mine\.py'):
        load_config('mine.py')


def test_installed_once():
    before = Config._get_cfg_path
    config_bases.install()
    assert Config._get_cfg_path is before
