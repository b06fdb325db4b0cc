"""Class names from the annotations, and a model with as many classes.

A data set's classes are *given* where the config has ``metainfo=dict(classes=...)``, or
where the data set's type has names of its own (COCO's 80) that are those of its file.
Otherwise they are read from the training set's annotations, for all splits, and the
heads' ``num_classes`` follow. Where they are given, ``num_classes`` must agree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from mmfrcnn.data.formats.coco.read import read_coco_names
from mmfrcnn.data.formats.pictures import PictureDataset
from mmfrcnn.errors import UserError

SPLITS = ('train', 'val', 'test')
OTHER_CLASSES = ('backbone', 'rpn_head', 'semantic_head', 'panoptic_head')
"""Parts whose ``num_classes`` are not those of the data set's boxes."""


def plain_configs(dataset: dict, key: str) -> Iterator[tuple[str, dict]]:
    """Yield (dotted key, config) of the data sets inside any wrappers."""
    inner = [
        (f'{key}.datasets.{i}', d) for i, d in enumerate(dataset.get('datasets', ()))
    ]
    if dataset.get('dataset'):
        inner.append((f'{key}.dataset', dataset['dataset']))
    for name, config in inner:
        yield from plain_configs(config, name)
    if not inner and dataset.get('type'):
        yield key, dataset


def innermost(dataset: Any) -> Any:
    """Return the config of the data set inside any wrappers, each of one."""
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def resolve_classes(config: Config, say: Callable[[str], None] = print) -> None:
    """Fill in class names that a config leaves open, and check or set ``num_classes``.

    Args:
        config (Config): The config of a run; changed in place.
        say (Callable[[str], None]): Is told in one line what was filled in.

    Raises:
        UserError: If names are open and can't be read, the training sets disagree, or
            ``num_classes`` of a head is not the number of names given.
    """
    init_default_scope(config.get('default_scope', 'mmdet'))
    found = [
        (key, dataset)
        for split in SPLITS
        for key, dataset in plain_configs(
            (config.get(f'{split}_dataloader') or {}).get('dataset') or {},
            f'{split}_dataloader.dataset',
        )
    ]
    for key, dataset in found:
        _check_packages(key, dataset)
    given = {key: _given(dataset) for key, dataset in found}
    left_open = [(key, d) for key, d in found if given[key] is None and _readable(d)]
    names = next((names for names in given.values() if names), None)
    if left_open:
        names = names or _names_of_training(left_open)
        _check_groups(left_open, names)
        for _, dataset in left_open:
            dataset['metainfo'] = {**(dataset.get('metainfo') or {}), 'classes': names}
        changed = set_num_classes(config.model, len(names))
        say(
            f'{len(names)} classes of {_source(left_open[0][1])}: '
            f'{_first_of(names)}.{_about(changed, len(names))}'
        )
    elif names:
        for path, node in _heads(config.model, 'model'):
            if node['num_classes'] != len(names):
                raise UserError(
                    f'{path}.num_classes is {node["num_classes"]}, but the data has '
                    f'{len(names)} classes ({_first_of(names)}). Set it to '
                    f'{len(names)}, or change metainfo=dict(classes=...)'
                )


def set_num_classes(model: ConfigDict, count: int) -> list[tuple[str, int]]:
    """Set ``num_classes`` of every head of a model's config, but of none of the RPN's.

    Returns:
        list[tuple[str, int]]: The dotted keys that changed, and their values before.
    """
    changed = []
    for path, node in _heads(model, 'model'):
        if node['num_classes'] != count:
            changed.append((f'{path}.num_classes', node['num_classes']))
            node['num_classes'] = count
    return changed


def _heads(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the configs with ``num_classes`` below a node, by dotted path."""
    if isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from _heads(child, f'{path}.{index}')
    elif isinstance(node, dict):
        if isinstance(node.get('num_classes'), int):
            yield path, node
        for key, child in node.items():
            if key not in OTHER_CLASSES:
                yield from _heads(child, f'{path}.{key}')


def _kind(dataset: dict) -> Any:
    """Return the class of a data set's config."""
    return (
        DATASETS.get(dataset['type'])
        if isinstance(dataset['type'], str)
        else (dataset['type'])
    )


def _readable(dataset: dict) -> bool:
    """Whether the names of a data set can be read from its annotations."""
    kind = _kind(dataset)
    return isinstance(kind, type) and issubclass(kind, CocoDataset | PictureDataset)


def _given(dataset: dict) -> tuple[str, ...] | None:
    """Return the class names that a data set is configured with, or None."""
    metainfo = dataset.get('metainfo') or {}
    if metainfo.get('classes'):
        return tuple(metainfo['classes'])
    kind = _kind(dataset)
    own = tuple(getattr(kind, 'METAINFO', {}).get('classes') or ())
    if not own or not issubclass(kind, CocoDataset):
        return own or None
    path = _ann_file(dataset)
    if not os.path.isfile(path) or set(read_coco_names(path)[0]) == set(own):
        return own
    return None


def _names_of_training(left_open: Sequence[tuple[str, dict]]) -> tuple[str, ...]:
    """Read the class names of the training sets; of one split alone, its own."""
    training = [pair for pair in left_open if pair[0].startswith('train_')]
    read = {key: _read(key, dataset) for key, dataset in training or left_open[:1]}
    lists = list(read.values())
    if all(names == lists[0] for names in lists):
        return lists[0]
    raise UserError(
        f'{", ".join(read)}: their annotations name different classes '
        f'({"; ".join(_first_of(names) for names in lists)}). '
        'Set metainfo=dict(classes=(...)) in each'
    )


def _check_groups(left_open: Sequence[tuple[str, dict]], names: Sequence[str]) -> None:
    """Refuse a category that only groups others in one split, and is used in another.

    Which category is a class is decided by the annotations of the training set.
    """
    groups, classes = {}, {}
    for key, dataset in left_open:
        path = _ann_file(dataset)
        if issubclass(_kind(dataset), CocoDataset) and os.path.isfile(path):
            there, above = read_coco_names(path)
            groups.update((name, path) for name in above if name not in names)
            classes.update((name, (key, path)) for name in there)
    for name in groups:
        if name in classes:
            key, path = classes[name]
            raise UserError(
                f'{key}: {name!r} is a category with annotations in {path}, and in '
                f'{groups[name]} it has none and only groups others. Whether it is a '
                'class is for you to say: set metainfo=dict(classes=(...)) in the data '
                'sets of all splits'
            )


def _read(key: str, dataset: dict) -> tuple[str, ...]:
    kind = _kind(dataset)
    try:
        if issubclass(kind, CocoDataset):
            names = read_coco_names(_ann_file(dataset))[0]
        else:
            arguments = {k: v for k, v in dataset.items() if k != 'type'}
            names = kind(**{**arguments, 'pipeline': [], 'lazy_init': True}).read()[0]
    except UserError as error:
        raise UserError(f'{key}: {error}') from error
    if not names:
        raise UserError(f'{key}: {_source(dataset)} names no class')
    return tuple(names)


def _ann_file(dataset: dict) -> str:
    return os.path.join(dataset.get('data_root') or '', dataset.get('ann_file') or '')


def _source(dataset: dict) -> str:
    prefix = (dataset.get('data_prefix') or {}).get('img') or ''
    inside = dataset.get('ann_file') or prefix
    return str(Path(dataset.get('data_root') or '') / inside)


def _first_of(names: Sequence[str]) -> str:
    return ', '.join(names[:10]) + (', ...' if len(names) > 10 else '')


def _about(changed: list[tuple[str, int]], count: int) -> str:
    text = ', '.join(f'{key} from {before}' for key, before in changed)
    return f' Set to {count}: {text}.' if text else ''


def _check_packages(key: str, dataset: dict) -> None:
    """Ask for the one package that a data set of mmdet's needs besides."""
    if str(dataset['type']).startswith('LVIS') and find_spec('lvis') is None:
        raise UserError(
            f'{key}: {dataset["type"]} needs the package lvis, which is not installed: '
            'pip install lvis'
        )
