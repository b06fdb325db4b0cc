"""The config text inside a checkpoint, read and not executed.

Given weights without a config, mmengine's inferencers take the config that is stored
with them, as Python text, and execute it: whoever wrote the file runs their code. A
config that mmengine stored holds nothing but values, so here it is read as values, and
what is needed of them is checked (`detection_parts`); anything else is refused.
"""

from __future__ import annotations

import ast
import functools
import sys
import threading
from typing import Any

from mmengine.config import ConfigDict
from mmengine.infer import BaseInferencer
from mmengine.runner.checkpoint import _load_checkpoint

from mmfrcnn.compat.detection_parts import (
    detection_parts,
    find_part,
    training_parts,
)
from mmfrcnn.compat.model_size import no_larger_than
from mmfrcnn.errors import UserError, first_of, shown, summary_of

_PARSING = threading.Lock()
"""Parsers of Python 3.11 in several threads count each other's depth, and fail."""
REMEDY = 'Give the config file as well, as `model`'
LONGEST_TEXT = 1_000_000
"""Characters: Python's parser takes seconds and a gigabyte for the worst of that."""


def read_values(text: str) -> dict[str, Any]:
    """Read ``name = value`` lines as `Config.pretty_text` writes them.

    Example:
        >>> read_values("model = dict(type='RPN', sizes=[1, -2.5], neck=None)")
        {'model': {'type': 'RPN', 'sizes': [1, -2.5], 'neck': None}}

    Raises:
        ValueError: If the text holds anything but names and plain values, or is too
            long.
        SyntaxError: If it is not Python.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f'{len(text)} characters, of {LONGEST_TEXT} at most')
    values = {}
    with _PARSING:
        body = ast.parse(text).body
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = ast.literal_eval(_PlainDicts().visit(value))
            case _:
                raise ValueError(f'line {statement.lineno} is no assignment')
    return values


class _PlainDicts(ast.NodeTransformer):
    """Turns ``dict(a=1)`` into ``{'a': 1}``, which `ast.literal_eval` takes.

    And ``dict({'a.b': 1})``, as mmengine writes keys that are no names.
    """

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace a call of ``dict`` with keywords; leave others to be refused."""
        self.generic_visit(node)
        names = [keyword.arg for keyword in node.keywords]
        is_dict = isinstance(node.func, ast.Name) and node.func.id == 'dict'
        if is_dict and not names and len(node.args) == 1:
            return node.args[0] if isinstance(node.args[0], ast.Dict) else node
        if not is_dict or node.args or None in names:
            return node
        keys: list[ast.expr | None] = [ast.Constant(name) for name in names]
        return ast.Dict(keys, [keyword.value for keyword in node.keywords])


def stored_text(loaded: dict[str, Any]) -> str | None:
    """Return the text of the config in a checkpoint, if there is one."""
    hub = loaded.get('message_hub') or {}
    text = (hub.get('runtime_info') or {}).get('cfg')
    text = text or (loaded.get('meta') or {}).get('cfg')
    return text if isinstance(text, str) else None


def stored_config(loaded: dict[str, Any], filename: str, remedy: str) -> dict[str, Any]:
    """Return what detection needs of the config stored in a checkpoint.

    Args:
        loaded (dict): The checkpoint.
        filename (str): Where it is from, for the message.
        remedy (str): What to do instead, for the message.

    Raises:
        UserError: If there is no config, or :func:`config_of_text` refuses it.
    """
    text = stored_text(loaded)
    if text is None:
        raise UserError(f'{filename} holds no config. {remedy}')
    return config_of_text(text, f'{filename}: the config inside', remedy)


def config_of_text(
    text: str, name: str, remedy: str, training: bool = False
) -> dict[str, Any]:
    """Return what detection needs of a config's text: see `detection_parts`.

    Args:
        text (str): As mmengine writes it.
        name (str): What it is, for the message.
        remedy (str): What to do instead, for the message.
        training (bool): Return what a loss needs instead: see `training_parts`.

    Raises:
        UserError: If it holds more than values, or it would import a module that is not
            imported yet, or a part is not allowed.
    """
    try:
        values = read_values(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f'{name} was not read: it holds more than plain values '
            f'({str(error) or type(error).__name__}), and nothing of it is executed. '
            f'{remedy}'
        ) from None
    absent = _imports(values.get('custom_imports')) - sys.modules.keys()
    if absent:
        modules = first_of(sorted(map(shown, absent)))
        raise UserError(
            f'{name} imports {modules}. If you trust it, import it yourself first. '
            f'{remedy}'
        )
    try:
        return training_parts(values) if training else detection_parts(values)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{name} was not used: {error}. {remedy}') from None


def _imports(custom: Any) -> set[str]:
    """Return the modules that a config imports."""
    named = custom.get('imports') if isinstance(custom, dict) else custom
    listed = named if isinstance(named, list | tuple) else [named]
    return {str(one) for one in listed if one}


def install() -> None:
    """Have mmengine's inferencers read a stored config in place of executing it."""
    build = BaseInferencer._init_model
    if hasattr(build, '__wrapped__'):
        return

    @functools.wraps(build)
    def _init_model(self, cfg, weights, device='cpu'):
        if cfg or weights is None:
            return build(self, cfg, weights, device)
        loaded = _load_checkpoint(weights, map_location='cpu')
        cfg.update(ConfigDict(_for_inferencer(loaded, weights)))
        try:
            with no_larger_than(loaded.get('state_dict', loaded), weights):
                return build(self, cfg, weights, device)
        except UserError:
            raise
        except Exception as error:  # nobody has checked the arguments
            reason = summary_of(error)
            raise UserError(
                f'{weights}: the model of its config could not be built ({reason}). '
                f'{REMEDY}'
            ) from error

    BaseInferencer._init_model = _init_model


def _for_inferencer(loaded: dict[str, Any], filename: str) -> dict[str, Any]:
    """Return a checkpoint's config with a data set and a visualizer that do nothing.

    mmdet's inferencer builds both, the data set for the colours of its classes.
    """
    config = stored_config(loaded, filename, REMEDY)
    dataset = config['test_dataloader']['dataset']
    known = getattr(find_part(dataset['type'], 'dataset'), 'METAINFO', {})
    dataset['metainfo'] = {**known, **dataset['metainfo']}
    dataset['type'] = 'BaseDetDataset'
    return {**config, 'visualizer': {'type': 'DetLocalVisualizer'}}
