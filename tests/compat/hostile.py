"""Stored configs that would execute something, each in a way of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from tests.end_to_end.tiny import CONFIG
from tests.tools import REPO

TOUCH = "__import__('pathlib').Path({mark!r}).touch()"
COMMAND = dict(type='os.system', command='touch {mark}')
LOADER = 'test_dataloader.dataset'
KD = 'KnowledgeDistillationSingleStageDetector'

PLANTED: dict[str, tuple[str, Any]] = {
    'a function of os': ('model', COMMAND),
    'a process': ('model.backbone', dict(type='subprocess.Popen', args='touch {mark}')),
    'in the data preprocessor': ('model.data_preprocessor', COMMAND),
    'in a list': ('model.data_preprocessor.batch_augments', [[COMMAND]]),
    'in a loss': ('model.rpn_head.loss_cls', COMMAND),
    'in a norm': ('model.backbone.norm_cfg', COMMAND),
    'in a plugin': ('model.backbone.plugins', [dict(cfg=COMMAND, stages=(True,))]),
    'in a task utility': ('model.rpn_head.anchor_generator', COMMAND),
    'in a pooling layer': ('model.roi_head.bbox_roi_extractor.roi_layer', COMMAND),
    'in the pipeline': (f'{LOADER}.pipeline', [COMMAND]),
    'a data set': (f'{LOADER}.type', 'os.system'),
    'a builtin': ('model.neck', dict(type='builtins.eval', source=TOUCH)),
    'a config file': (
        'model.roi_head.bbox_head.loss_cls',
        dict(type='mmengine.Config.fromfile', filename='{evil}'),
    ),
    'a function of ours': (
        'model.neck',
        dict(type='tests.compat.hostile.touch', mark='{mark}'),
    ),
    'behind a scope': ('model.neck', dict(COMMAND, type='mmdet.os.system')),
    'in a scope': ('model.neck', dict(COMMAND, type='system', _scope_='os')),
    'a scope alone': ('model.neck._scope_', 'antigravity'),
    'the default scope': ('default_scope', 'antigravity'),
    'a module': ('model.neck', dict(type='antigravity')),
    'a list of names': ('model.neck.type', ['os.system']),
    'a number': ('model.neck.type', 3),
    'a key that is no name': ('model.neck', {'type': 'FPN', 3: 4}),
    'a key of several lines': ('model.neck', {'type': 'FPN', 'a\nerror: b': 4}),
    'imports of several lines': ('custom_imports', dict(imports=['a\nerror: b'])),
    'an evaluated NMS': ('model.test_cfg.rcnn.nms.type', TOUCH),
    'an evaluated NMS of the RPN': ('model.test_cfg.rpn.nms', dict(type=TOUCH)),
    'an argument that is evaluated': (
        'model.rpn_head.bbox_coder',
        dict(type='CameraMotionCompensation', warp_mode=TOUCH),
    ),
    'an argument that is executed': (
        'model',
        dict(type=KD, backbone={}, neck={}, bbox_head={}, teacher_config='{evil}'),
    ),
    'a type by another key': (
        f'{LOADER}.pipeline.1',
        dict(type='ResizeShortestEdge', scale=9, resize_type='os.system'),
    ),
    'a module by another key': ('model.neck.conv_type', 'antigravity'),
    'another library': (f'{LOADER}.pipeline.1', dict(type='Albu', transforms=[])),
    'a layer as model': ('model', dict(type='ResNet', depth=18)),
    'a layer as data preprocessor': ('model.data_preprocessor', dict(type='FPN')),
    'an assigner as backbone': ('model.backbone', dict(type='MaxIoUAssigner')),
    'an image of the web': ('model.backbone.style', 'http://127.0.0.1/x'),
    'a base': ('model._base_', '{evil}'),
    'a deletion': ('model.backbone._delete_', True),
    'a module to import': ('custom_imports', dict(imports=['antigravity'])),
    'no model': ('model', 'os.system'),
    'no pipeline': (f'{LOADER}.pipeline', 'os.system'),
}
"""By name: a dotted key of a good config, and what is put there."""

TEXTS = {
    'a statement': 'open({mark!r}, "w").close()',
    'a call': 'model = open({mark!r}, "w").close()',
    'a call as type': 'model = dict(type=open({mark!r}, "w").close())',
    'a call of dict': 'model = dict(open({mark!r}, "w").close() or [])',
    'unpacked': 'model = dict(**open({mark!r}, "w").close())',
    'a comprehension': 'model = [0 for _ in [open({mark!r}, "w").close()]]',
    'an f-string': 'model = f"{{open({mark!r}, "w").close()}}"',
    'a lambda': 'model = dict(type=lambda: open({mark!r}, "w"))',
    'a lambda called': 'model = (lambda: open({mark!r}, "w").close())()',
    'an import': 'import antigravity\nmodel = dict()',
    'a condition': 'if open({mark!r}, "w"): model = 1',
    'an assertion': 'assert open({mark!r}, "w")',
    'a class': 'class model(metaclass=open({mark!r}, "w")): pass',
    'a decorator': '@open({mark!r}, "w").close\ndef model(): pass',
    'an annotation': 'model: open({mark!r}, "w") = 1',
    'an attribute': 'model = "".__class__',
    'a walrus': 'model = (a := 1)',
    'a rebound dict': 'dict = open\nmodel = dict(file={mark!r}, mode="w")',
    'cut off': "model = dict(type='x'",
    'no Python': '\0',
    'brackets': 'model = ' + '[' * 3000,
    'signs': 'model = ' + '-' * 200_000 + '1',
    'a repetition': "model = 'x' * 10**12",
    'a power': 'model = 9 ** 9 ** 9',
    'names of names': 'a = [0]\nb = [a, a]\nc = [b, b]\nmodel = [c, c]',
    'a long number': 'model = ' + '9' * 100_000,
    'ten megabytes': 'model = [' + '1,' * 5_000_000 + ']',
    'nested deeply': 'model = ' + 'dict(a=' * 190 + "dict(type='x')" + ')' * 190,
}


def touch(mark: str) -> None:
    """Leave a mark: what a config must not call."""
    Path(mark).touch()


def good_config(folder: Path) -> dict[str, Any]:
    """Return the tiny config as plain values."""
    path = folder / 'tiny.py'
    path.write_text(CONFIG.format(repo=REPO.as_posix(), data=folder / 'data'))
    return Config.fromfile(path).to_dict()


def plant(config: dict[str, Any], key: str, value: Any, **names: str) -> None:
    """Put a value at a dotted key of a config, names in its texts replaced."""
    *parents, last = key.split('.')
    node: Any = config
    for parent in parents:
        node = node[int(parent) if isinstance(node, list) else parent]
    node[int(last) if isinstance(node, list) else last] = _named(value, names)


def _named(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**names) if '{' in value else value
    if isinstance(value, dict):
        return {key: _named(one, names) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_named(one, names) for one in value)
    return value


def text_of(config: dict[str, Any]) -> str:
    """Return a config as text that is read back to the same."""
    return ''.join(f'{name} = {value!r}\n' for name, value in config.items())
