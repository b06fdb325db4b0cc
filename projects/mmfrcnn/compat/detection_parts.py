"""What is taken of a stored config, with every name in it checked at its place.

mmengine builds whatever a config names: a dotted ``type`` is imported and called, a
name that is not registered is imported as a module, and some registered classes
execute, open or fetch what their arguments say. So of a config from a file only the
model is taken and, for detection, the test pipeline and the class names, and in these
a ``type`` must be the plain name of a registered class of the kind that belongs there.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import mmcv.ops
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.registry import DATASETS, MODELS, TASK_UTILS, TRANSFORMS, Registry
from torch import nn

SCOPE = 'mmdet'

UTILITIES = (
    *('assigner', 'calculator', '_coder', 'costs', 'generator', 'sampler'),
    *('cls_cost', 'iou_cost', 'reg_cost', 'motion'),
)
"""How the keys end under which mmdet builds its task utilities."""

SUPPRESSIONS = ('nms', 'soft_nms')
"""Kinds of NMS: mmcv evaluates the name."""

MODES = ('across_', 'adapt_cfg', 'output_trans', 'same_')
"""How the keys begin under which ``type`` is a mode of the part around it."""

READERS = frozenset(
    {
        'ATSSVLFusionHead',
        'Albu',
        'AppearanceFreeLink',
        'BertModel',
        'CameraMotionCompensation',
        'Detectron2Wrapper',
        'GLIP',
        'GroundingDINO',
        'InstaBoost',
        'KnowledgeDistillationSingleStageDetector',
        'LAD',
        'LoadStoredProposals',
        'LoadTextAnnotations',
        'RandomSamplingNegPos',
    }
)
"""Registered classes that evaluate, import, open or download what an argument says."""

DROPPED = ('backend_args', 'checkpoint', 'file_client_args', 'init_cfg', 'pretrained')
"""Keys that name files: the weights come from the checkpoint, images from the user."""


def detection_parts(values: dict[str, Any]) -> dict[str, Any]:
    """Return what detection needs of a config, and nothing else of it.

    Args:
        values (dict): A config as plain values.

    Returns:
        dict: ``default_scope``, ``model``, without its ``train_cfg`` and what would
        load weights, and ``test_dataloader.dataset``, with ``type``, ``metainfo``
        (class names and colours, where they are written out) and ``pipeline``.

    Raises:
        ValueError: Naming the part that is missing or not allowed.
    """
    model = _model(values)
    loader = values.get('test_dataloader')
    dataset = loader.get('dataset') if isinstance(loader, dict) else None
    while isinstance(dataset, dict) and 'dataset' in dataset:
        dataset = dataset['dataset']
    if not isinstance(dataset, dict) or not isinstance(dataset.get('pipeline'), list):
        raise ValueError('it has no test_dataloader with a pipeline')
    path = 'test_dataloader.dataset'
    _check_type(dataset.get('type'), 'dataset', path)
    kept = {
        'type': dataset['type'],
        'metainfo': _written_out(dataset.get('metainfo')),
        'pipeline': _checked(dataset['pipeline'], 'pipeline', f'{path}.pipeline'),
    }
    return {
        'default_scope': SCOPE,
        'model': _checked(_untrained(model), 'model', 'model'),
        'test_dataloader': {'dataset': kept},
    }


def training_parts(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a loss needs of a config: the model, with its ``train_cfg``.

    Arguments and errors are those of `detection_parts`.
    """
    model = _checked(_model(values), 'model', 'model')
    return {'default_scope': SCOPE, 'model': model}


def _model(values: dict[str, Any]) -> dict[str, Any]:
    if values.get('default_scope') not in (None, SCOPE):
        raise ValueError(f'default_scope is {values["default_scope"]!r}, not {SCOPE!r}')
    model = values.get('model')
    if not isinstance(model, dict) or 'type' not in model:
        raise ValueError('it has no model')
    return model


def _untrained(node: Any) -> Any:
    """Return a copy of a config node whose parts are not trained."""
    if isinstance(node, list | tuple):
        return type(node)(map(_untrained, node))
    if not isinstance(node, dict):
        return node
    return {k: None if k == 'train_cfg' else _untrained(v) for k, v in node.items()}


def _written_out(metainfo: Any) -> dict[str, Any]:
    """Return class names and colours that are lists: of a text, mmengine reads a file.

    Others are left out, and looked for in the checkpoint.
    """
    found = metainfo if isinstance(metainfo, dict) else {}
    lists = {key: found.get(key) for key in ('classes', 'palette')}
    return {key: one for key, one in lists.items() if isinstance(one, list | tuple)}


def _checked(node: Any, key: str, path: str) -> Any:
    """Return a copy of a config node under a key, less what loads weights."""
    if isinstance(node, list | tuple):
        items = [_checked(one, key, f'{path}.{i}') for i, one in enumerate(node)]
        return type(node)(items)
    if isinstance(node, str):
        _check_text(node, key, path)
    if not isinstance(node, dict):
        return node
    if 'type' in node and not key.startswith(MODES):
        _check_type(node['type'], key, f'{path}.type')
    return dict(_children(node, path))


def _children(node: dict, path: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if not isinstance(key, str) or not key.isidentifier():
            raise ValueError(f'{path} has the key {_shown(key)}, which is no name')
        if key.startswith('_') and (key, value) != ('_scope_', SCOPE):
            raise ValueError(f'{path}.{key} is not allowed')
        if key in DROPPED or (key == 'weights' and isinstance(value, str)):
            continue
        yield key, _checked(value, key, f'{path}.{key}')


def _check_text(text: str, key: str, path: str) -> None:
    """Refuse paths, addresses, and modules where a part might look its type up."""
    if '/' in text or '\\' in text:
        raise ValueError(f'{path} is {_shown(text)}, a path or an address')
    if key.endswith(('_type', 'padding_mode')) and _is_module(text.partition('.')[0]):
        raise ValueError(f'{path} is {_shown(text)}, which can be imported')


def _check_type(name: Any, key: str, path: str) -> None:
    """Check that a type is of the kind that belongs under a key."""
    if not isinstance(name, str):
        raise ValueError(f'{path} is {_shown(name)}, not a name')
    if key.endswith(('nms', 'nms_cfg', 'dqs_cfg')):
        fits = name in SUPPRESSIONS
    elif key == 'roi_layer':
        fits = _is_kind(getattr(mmcv.ops, name, None), nn.Module)
    else:
        fits = _is_kind(find_part(name, key), _kind(key))
    if not fits:
        raise ValueError(
            f'{path} asks for {_shown(name)}, which no imported package has registered '
            'for this place, and no other is looked for: it would be imported and '
            'called'
        )
    if name.removeprefix(f'{SCOPE}.') in READERS:
        raise ValueError(
            f'{path} is {name}, which opens or executes what its arguments say'
        )


def find_part(name: str, key: str) -> Any:
    """Find what is registered for the place under a key, importing nothing.

    Args:
        name (str): Its plain name, or that after mmdet's scope and a dot.
        key (str): ``model``, ``pipeline``, ``dataset``, ``assigner``, ...

    Returns:
        Any: The class, or None.
    """
    root: Registry = MODELS
    if key in ('pipeline', 'transforms'):
        root = TRANSFORMS
    elif key == 'dataset':
        root = DATASETS
    elif key.endswith(UTILITIES):
        root = TASK_UTILS
    registries = [root.children[SCOPE], root]  # mmdet's first, as its own look-up
    if name.startswith(f'{SCOPE}.'):
        name, registries = name.removeprefix(f'{SCOPE}.'), registries[:1]
    for registry in registries:
        registry.import_from_location()
        if name in registry.module_dict:
            return registry.module_dict[name]
    return None


def _kind(key: str) -> type:
    """Return the class that what is built under a key derives from."""
    if key in ('pipeline', 'transforms', 'dataset') or key.endswith(UTILITIES):
        return object
    kinds = {'model': BaseModel, 'data_preprocessor': BaseDataPreprocessor}
    return kinds.get(key, nn.Module)


def _is_kind(found: Any, kind: type) -> bool:
    return isinstance(found, type) and issubclass(found, kind)


def _is_module(name: str) -> bool:
    """Whether there is a module of a name; it is not imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
