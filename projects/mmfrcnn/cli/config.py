"""Reading a config file, and the overrides of ``--cfg-options``, with clear errors."""

from __future__ import annotations

import difflib
import inspect
import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.runner import Runner

from mmfrcnn.cli.variables import like, read_with_variables
from mmfrcnn.compat.config_bases import PREFIX, config_path, shipped_configs
from mmfrcnn.errors import UserError, did_you_mean

READ_ELSEWHERE = (
    'compile',
    'custom_imports',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
)
"""Top-level keys read by the Runner's methods or the tools, not by its constructor."""


DICT = re.compile(r"""(^|[\[(,])\s*['"]?(dict\(|\{\s*['"\w])""")
"""The beginning of a dict in a value, alone or in a list."""

RUNNER_KEYS = set(inspect.signature(Runner).parameters) - {'cfg'}


def top_level_keys() -> set[str]:
    """Return the top-level config keys that mean something to the Runner or a tool."""
    return RUNNER_KEYS | set(READ_ELSEWHERE)


def load_config(
    path: str, options: Sequence[str] | Mapping[str, Any] | None = None
) -> Config:
    """Read a config file and merge overrides into it.

    Args:
        path (str): The config file, or ``mmfrcnn::`` and one of the package's.
        options (Sequence[str] | Mapping[str, Any] | None): ``key=value`` pairs, as
            mmengine's `DictAction` understands them, or values by dotted key.

    Returns:
        Config: The config.

    Raises:
        UserError: If the file or one of its bases is missing or broken, or an override
            would have no effect.
    """
    if not Path(config_path(path)).is_file():
        raise UserError(f'no such config file: {path}.{_near_config(path)}')
    path = config_path(path)
    config = _read(path)
    _check_top_level(config, path)
    if isinstance(options, Mapping):
        overrides = dict(options)
    else:
        overrides = parse_options(options or ())
    variables = {
        name: like(name, overrides.pop(name), config[name])
        for name in set(overrides) & set(config) - top_level_keys()
    }
    if variables:
        config = _set_variables(path, config, variables)
    for key in overrides:
        _check_option(config, key)
    try:
        config.merge_from_dict(overrides)
    except (TypeError, KeyError, IndexError) as error:
        raise UserError(f'--cfg-options: {error.args[0]}') from error
    return config


def _set_variables(path: str, config: Config, variables: dict[str, Any]) -> Config:
    """Read a config anew with other values of its variables; see that they count."""
    for name in variables:
        alone = read_with_variables(path, {name: variables[name]})
        changed = [key for key in top_level_keys() if alone.get(key) != config.get(key)]
        if not changed and variables[name] != config[name]:
            raise UserError(
                f'--cfg-options {name}: it would change nothing: no setting is made '
                f'from the variable {name!r} of the config file'
            )
    return read_with_variables(path, variables)


def _read(path: str) -> Config:
    try:
        return Config.fromfile(path)
    except SyntaxError as error:
        where = f'{path}, line {error.lineno}'
        raise UserError(
            f'{where}: {error.msg}: {(error.text or "").strip()}'
        ) from error
    except FileNotFoundError as error:
        missing = Path(error.filename or str(error).split('"')[1])
        message = f'{path}: a file named in _base_ does not exist: {missing}.'
        raise UserError(message + _near_file(missing)) from error
    except ImportError as error:
        cause: BaseException = error
        while cause.__cause__ or cause.__context__:
            cause = cause.__cause__ or cause.__context__
        raise UserError(
            f'{path}: an import of the config failed: {cause}. A module of your own '
            'must be installed, or its folder be on PYTHONPATH'
        ) from error
    except Exception as error:
        raise UserError(f'{_config_line(path, error)}: {_describe(error)}') from error


def _config_line(path: str, error: Exception) -> str:
    """Name the config file of the chain, and its line, that raised."""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.name == '<module>':  # a config is executed as a module
            return f'{frame.filename}, line {frame.lineno}'
    return path


def _describe(error: Exception) -> str:
    return f'{type(error).__name__}: {error.args[0] if error.args else error}'


def _near_config(name: str) -> str:
    """Return a did-you-mean for a config as it was named."""
    if name.startswith(PREFIX):
        return did_you_mean(name, shipped_configs())
    return _near_file(Path(name))


def _near_file(path: Path) -> str:
    """Return a did-you-mean for a file among its neighbours, or among all configs."""
    if path.parent.is_dir():
        near = did_you_mean(path.name, (f.name for f in path.parent.iterdir()))
        if near:
            return near
    elsewhere = {name.rpartition('/')[2]: name for name in shipped_configs()}
    elsewhere |= {f.name: str(f) for f in Path('configs').rglob('*.py')}
    nearest = difflib.get_close_matches(path.name, elsewhere, n=1)
    return f" Did you mean '{elsewhere[nearest[0]]}'?" if nearest else ''


def _check_top_level(config: Config, path: str) -> None:
    if 'model' not in config:
        near = did_you_mean('model', config)
        raise UserError(f'{path} defines no model, so it is no config to run.{near}')
    known = top_level_keys()
    for key in config:
        # Other names are the file's own variables; only a near miss is a mistake.
        near = did_you_mean(key, RUNNER_KEYS - set(config), cutoff=0.87)
        if key not in known and near:
            raise UserError(f'{path}: nothing reads the key {key!r}.{near}')


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Parse ``key=value`` strings into values, as mmengine's command lines do."""
    parsed = {}
    for option in options:
        key, equals, value = option.partition('=')
        if not (key and equals):
            raise UserError(f'--cfg-options: {option!r} is not of the form key=value')
        try:
            if DICT.search(value):
                raise RecursionError
            parsed[key] = DictAction._parse_iterable(value)
        except AssertionError as error:
            raise UserError(f'--cfg-options: {option!r}: {error}') from error
        except RecursionError as error:  # mmengine's, at a call with a comma inside
            raise UserError(
                f'--cfg-options: {option!r}: values are numbers, texts, lists and '
                'tuples, so a dict cannot be written here. Set its keys, a.b.c=1, or '
                'write a small config with this one as its _base_'
            ) from error
    return parsed


def _check_option(config: Config, key: str) -> None:
    """Refuse an override that nothing would read.

    A new key is fine in a dict with a ``type`` (its class is asked later) and in a free
    one, unless its name is nearly that of a key which is there.
    """
    parts = key.split('.')
    known = top_level_keys()
    if parts[0] not in known:
        if parts[0] in config:
            raise UserError(
                f'--cfg-options {key}: {parts[0]!r} is a variable of the config file, '
                'used when the file is read, so a part of it cannot be set. '
                f'Set the keys made from it{_made_from(config, parts[0])}, or write a '
                'small config with this one as its _base_'
            )
        near = did_you_mean(parts[0], known | set(config))
        raise UserError(f'--cfg-options {key}: no such key {parts[0]!r}.{near}')
    node: Any = config
    for depth, part in enumerate(parts):
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict | Config) and part in node:
            node = node[part]
        elif depth == 0:
            node = None  # a setting that this config doesn't have
        elif part.isdigit():
            where = '.'.join(parts[:depth])
            there = f'has {len(node)}' if isinstance(node, list) else 'is no list'
            raise UserError(
                f'--cfg-options {key}: no entry {part} in {where}, which {there} in '
                'this config. Write a small config with this one as its _base_'
            )
        elif isinstance(node, dict) and 'type' not in node and part != 'type':
            near = did_you_mean(part, node, cutoff=0.75)
            if near:
                where = '.'.join(parts[:depth])
                raise UserError(f'--cfg-options {key}: no {part!r} in {where}.{near}')
            return
        else:
            return  # new; merging complains where it can't be


def _made_from(config: Config, name: str) -> str:
    """List some keys whose value is, or starts with, that of a variable."""
    value = config[name]

    def matches(other: Any) -> bool:
        if isinstance(value, str) and isinstance(other, str):
            return bool(value) and other.startswith(value)
        return type(other) is type(value) and other == value

    paths = [
        path
        for path, leaf in leaves(config)
        if matches(leaf) and path.split('.')[0] in top_level_keys()
    ]
    return f' ({", ".join(paths[:3])}{", ..." if len(paths) > 3 else ""})' * bool(paths)


def leaves(node: Any, path: str = '') -> list[tuple[str, Any]]:
    """List ``(dotted path, value)`` of everything below a config node, itself too."""
    found = [(path, node)] if path else []
    if isinstance(node, Config | ConfigDict | dict):
        children = [(str(key), node[key]) for key in node]
    elif isinstance(node, list | tuple):
        children = [(str(index), value) for index, value in enumerate(node)]
    else:
        children = []
    for name, value in children:
        found += leaves(value, f'{path}.{name}' if path else name)
    return found
