"""The config text inside a checkpoint, read and not executed.

Given weights without a config, mmengine's inferencers take the config that is stored
with them, as Python text, and execute it: whoever wrote the file runs their code. A
config that mmengine stored holds nothing but values, so here it is read as values, and
the types it names must be registered already; anything else is refused.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from typing import Any

import mmcv.ops
import mmengine.registry.root
from mmengine.config import ConfigDict
from mmengine.infer import BaseInferencer
from mmengine.registry import Registry
from mmengine.runner.checkpoint import _load_checkpoint

from mmfrcnn.errors import UserError


def read_values(text: str) -> dict[str, Any]:
    """Read ``name = value`` lines as `Config.pretty_text` writes them.

    Example:
        >>> read_values("model = dict(type='RPN', sizes=[1, -2.5], neck=None)")
        {'model': {'type': 'RPN', 'sizes': [1, -2.5], 'neck': None}}

    Raises:
        ValueError: If the text holds anything but names and plain values.
        SyntaxError: If it is not Python.
    """
    values = {}
    for statement in ast.parse(text).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = ast.literal_eval(_PlainDicts().visit(value))
            case _:
                raise ValueError(f'line {statement.lineno} is no assignment')
    return values


class _PlainDicts(ast.NodeTransformer):
    """Turns ``dict(a=1)`` into ``{'a': 1}``, which `ast.literal_eval` takes."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace a call of ``dict`` with keywords; leave others to be refused."""
        self.generic_visit(node)
        names = [keyword.arg for keyword in node.keywords]
        is_dict = isinstance(node.func, ast.Name) and node.func.id == 'dict'
        if not is_dict or node.args or None in names:
            return node
        keys: list[ast.expr | None] = [ast.Constant(name) for name in names]
        return ast.Dict(keys, [keyword.value for keyword in node.keywords])


def stored_config(filename: str) -> dict[str, Any]:
    """Return the config stored in a checkpoint, as values.

    Raises:
        UserError: If there is none, it holds more than values, or it would import a
            module that is not imported yet, or a type in it is not registered.
    """
    loaded = _load_checkpoint(filename, map_location='cpu')
    hub = loaded.get('message_hub') or {}
    text = (hub.get('runtime_info') or {}).get('cfg')
    text = text or (loaded.get('meta') or {}).get('cfg')
    give_one = 'Give the config file as well, as `model`'
    if not isinstance(text, str):
        raise UserError(f'{filename} holds no config. {give_one}')
    try:
        values = read_values(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UserError(
            f'{filename}: the config inside was not read: it holds more than plain '
            f'values ({error}), and nothing of a checkpoint is executed. {give_one}'
        ) from None
    imports = (values.get('custom_imports') or {}).get('imports') or []
    absent = {imports} if isinstance(imports, str) else set(imports)
    absent -= sys.modules.keys()
    if absent:
        raise UserError(
            f'{filename}: the config inside imports {", ".join(sorted(absent))}. '
            'If you trust it, import it yourself first'
        )
    known = registered_names()
    unknown = next((name for name in looked_up(values) if name not in known), None)
    if unknown is not None:
        raise UserError(
            f'{filename}: the config inside asks for the type {unknown!r}, which no '
            'imported package has registered, and no other is looked for: a dotted '
            f'name would be imported and called. {give_one}'
        )
    return values


def looked_up(node: Any) -> Iterator[str]:
    """Yield every name below a node that mmengine looks up in its registries.

    Those are types, a collate function and the scopes, of which mmengine imports the
    package; a scope is followed by a dot.

    Example:
        >>> list(looked_up({'a': [{'type': 'RPN'}, ({'_scope_': 'os'},)]}))
        ['RPN', 'os.']
    """
    if isinstance(node, dict):
        for key, value in node.items():
            is_name = key == 'type' or (key == 'collate_fn' and isinstance(value, str))
            if is_name:
                yield str(value)
            elif key in ('_scope_', 'default_scope') and value is not None:
                yield f'{value}.'
            yield from looked_up(value)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from looked_up(child)


def registered_names() -> set[str]:
    """Return all names in mmengine's registries, as they are and after their scope.

    The registries import whatever they do not know, and call it, so only what is there
    already is safe to be named by a file. The layer of an RoI extractor and the kind of
    NMS are names of ``mmcv.ops``.
    """
    names = {name for name, value in vars(mmcv.ops).items() if callable(value)}
    for root in vars(mmengine.registry.root).values():
        if not isinstance(root, Registry):
            continue
        for registry in (root, *root.children.values()):
            registry.import_from_location()  # as its own look-up does
            names.add(f'{registry.scope}.')
            for name in registry.module_dict:
                names |= {name, f'{registry.scope}.{name}'}
    return names


def install() -> None:
    """Have mmengine's inferencers read a stored config in place of executing it."""
    build = BaseInferencer._init_model
    if hasattr(build, '__wrapped__'):
        return

    @functools.wraps(build)
    def _init_model(self, cfg, weights, device='cpu'):
        if not cfg and weights is not None:
            cfg.update(ConfigDict(stored_config(weights)))
        return build(self, cfg, weights, device)

    BaseInferencer._init_model = _init_model
