"""What is taken of a stored config, and that nothing else could be built of it."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys

import pytest
from mmdet.registry import MODELS, TASK_UTILS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmfrcnn.compat.config_text import config_of_text, read_values
from mmfrcnn.compat.detection_parts import READERS, detection_parts, find_part
from mmfrcnn.errors import UserError

from .hostile import PLANTED, TEXTS, good_config, plant, text_of


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('configs')


@pytest.fixture
def names(folder):
    """Return a mark that must not appear, and a config file that would leave it."""
    mark = folder / 'executed'
    evil = folder / 'evil.py'
    evil.write_text(f'open({str(mark)!r}, "w").close()')
    yield {'mark': str(mark), 'evil': str(evil)}
    executed = mark.exists()
    mark.unlink(missing_ok=True)
    assert not executed


def refusal(text: str) -> str:
    with pytest.raises(UserError) as refused:
        config_of_text(text, 'x.pth: the config inside', 'REMEDY.')
    message = str(refused.value)
    assert message.startswith('x.pth: the config inside') and 'REMEDY.' in message
    assert '\n' not in message and len(message) < 400
    return message


@pytest.mark.parametrize('name', PLANTED)
def test_what_is_planted_in_a_good_config_is_refused(name, folder, names):
    config = good_config(folder)
    assert detection_parts(config)
    plant(config, *PLANTED[name], **names)
    refusal(text_of(config))


@pytest.mark.parametrize('name', TEXTS)
def test_texts_that_are_more_than_values_are_refused(name, names):
    refusal(TEXTS[name].format(**names) if '{mark' in TEXTS[name] else TEXTS[name])


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('type', 'os.system'),
        ('type', 'mmengine.Config.fromfile'),
        ('type', 'tests.compat.hostile.touch'),
        ('type', 'CameraMotionCompensation'),
    ],
)
def test_without_the_check_such_would_be_executed(key, value, tmp_path):
    """The danger is real: mmengine builds each of these."""
    mark, evil = tmp_path / 'executed', tmp_path / 'evil.py'
    evil.write_text(f'open({str(mark)!r}, "w").close()')
    arguments = {
        'os.system': dict(command=f'touch {mark}'),
        'mmengine.Config.fromfile': dict(filename=str(evil)),
        'tests.compat.hostile.touch': dict(mark=str(mark)),
        'CameraMotionCompensation': dict(warp_mode=f'open({str(mark)!r}, "w").name'),
    }[value]
    registry = TASK_UTILS if value == 'CameraMotionCompensation' else MODELS
    with DefaultScope.overwrite_default_scope('mmdet'):
        registry.build({key: value, **arguments})
    assert mark.exists()


def test_only_what_detection_needs_is_taken(folder):
    config = good_config(folder)
    parts = detection_parts(config)
    assert list(parts) == ['default_scope', 'model', 'test_dataloader']
    dataset = parts['test_dataloader']['dataset']
    assert list(dataset) == ['type', 'metainfo', 'pipeline']
    assert dataset['metainfo'] == config['metainfo']
    assert dataset['pipeline'][1:] == config['pipeline'][1:]
    assert parts['model']['train_cfg'] is None
    assert parts['model']['test_cfg'] == config['model']['test_cfg']
    assert (
        parts['model']['rpn_head']['anchor_generator']
        == (config['model']['rpn_head']['anchor_generator'])
    )


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.init_cfg', dict(type='Pretrained', checkpoint='os.system')),
        ('model.backbone.init_cfg', [dict(type='os.system')]),
        ('model.backbone.pretrained', 'http://127.0.0.1/x.pkl'),
        ('model.backbone.weights', 'IMAGENET1K_V1'),
        ('model.train_cfg', dict(type='os.system')),
        ('test_dataloader.dataset.metainfo', dict(classes='/etc/passwd')),
        ('test_dataloader.dataset.ann_file', '/etc/passwd'),
        ('test_dataloader.collate_fn', 'os.system'),
        ('visualizer', dict(type='os.system')),
        ('load_from', 'http://127.0.0.1/x.pkl'),
    ],
)
def test_what_would_load_files_is_left_out(key, value, folder):
    config = good_config(folder)
    plant(config, key, value)
    text = repr(detection_parts(config))
    for hostile in ('os.system', 'http', 'passwd', 'Pretrained', 'IMAGENET'):
        assert hostile not in text


DANGEROUS = re.compile(
    r'(?<![.\w])(eval|exec|open|__import__)\(|fromfile\(|load_checkpoint\('
    r'|from_pretrained|import_module|mmengine\.load|nltk|torch\.hub|list_from_file'
    r'|\bnp\.load|checkpointer|albumentations|instaboost'
)
OF_FILES_NAMED_ELSEWHERE = {
    # Their `pretrained` and `init_cfg` are left out of a stored config.
    *('DetectoRS_ResNet', 'DetectoRS_ResNeXt', 'PyramidVisionTransformer'),
    *('PyramidVisionTransformerV2', 'SwinTransformer', 'SSDVGG'),
}


@functools.cache
def sources(module: str) -> dict[str, str]:
    """Return the source of each class of a module: `inspect` parses it for each."""
    text = inspect.getsource(sys.modules[module])
    lines = text.splitlines()
    return {
        node.name: '\n'.join(lines[node.lineno - 1 : node.end_lineno])
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    }


def test_every_registered_reader_is_known():
    """Classes whose source opens, imports or evaluates are refused by name."""
    found = set()
    for registry in (MODELS, TASK_UTILS, TRANSFORMS):
        for one in (registry, registry.parent):
            one.import_from_location()
            for name, kind in one.module_dict.items():
                ours = [
                    base
                    for base in kind.__mro__
                    if base.__module__.startswith(('mmdet', 'mmcv', 'mmfrcnn'))
                ]
                if any(
                    DANGEROUS.search(sources(base.__module__)[base.__name__])
                    for base in ours
                ):
                    found.add(name)
    assert found - OF_FILES_NAMED_ELSEWHERE <= READERS
    assert len(found & READERS) > 8


@pytest.mark.parametrize(
    ('name', 'key', 'known'),
    [
        ('FasterRCNN', 'model', True),
        ('mmdet.FasterRCNN', 'model', True),
        ('BN', 'norm_cfg', True),
        ('DeltaBoxCoder', 'bbox_coder', True),
        ('Resize', 'pipeline', True),
        ('CocoDataset', 'dataset', True),
        ('other.FasterRCNN', 'model', False),
        ('mmdet.os.system', 'model', False),
        ('os.system', 'model', False),
        ('Resize', 'model', False),
        ('FasterRCNN', 'pipeline', False),
        ('antigravity', 'model', False),
        ('', 'model', False),
    ],
)
def test_only_what_is_registered_is_found(name, key, known):
    assert (find_part(name, key) is not None) is known


def test_shipped_configs_are_taken(repo_root):
    for name in (
        'shapes/faster-rcnn_r18_fpn_shapes',
        'faster_rcnn/faster-rcnn_vgg16_voc07',
        'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco',
        'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
    ):
        config = Config.fromfile(repo_root / f'configs/{name}.py')
        parts = detection_parts(read_values(config.pretty_text))
        assert parts['model']['type'] == config.model.type
