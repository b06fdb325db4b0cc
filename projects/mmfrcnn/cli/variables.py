"""Setting a config file's own variables, such as ``data_root``, from outside.

mmengine executes a config file and forgets how its values came about, so a variable
changed afterwards changes nothing made from it. Here the file and its bases are read
with the assignments of the variable replaced, as if they had been written so.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import partial
from typing import Any

import mmengine.config.config
from mmengine.config import Config
from mmengine.config.utils import RemoveAssignFromAST

from mmfrcnn.errors import UserError


def read_with_variables(path: str, variables: Mapping[str, Any]) -> Config:
    """Read a config file and its bases with other values for their variables.

    Args:
        path (str): The config file.
        variables (Mapping[str, Any]): Values by name, plain ones.

    Raises:
        UserError: If a variable is made in a way that cannot be replaced.
    """
    # mmengine passes every file that it reads through this class, and offers no other
    # place to change one.
    module = mmengine.config.config
    module.RemoveAssignFromAST = partial(_ReplaceAssignments, variables=variables)
    try:
        return Config.fromfile(path)
    finally:
        module.RemoveAssignFromAST = RemoveAssignFromAST


class _ReplaceAssignments(RemoveAssignFromAST):
    """Does mmengine's part (leaving ``_base_`` out), and replaces variables' values."""

    def __init__(self, key: str, variables: Mapping[str, Any]) -> None:
        super().__init__(key)
        self.variables = variables

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:  # noqa: N802
        """Give a variable its value from outside."""
        match node.targets:
            case [ast.Name(id=name)] if name in self.variables:
                value = ast.parse(repr(self.variables[name]), mode='eval').body
                replaced = ast.Assign(node.targets, value)
                return ast.fix_missing_locations(ast.copy_location(replaced, node))
        self.generic_visit(node)
        return super().visit_Assign(node)

    def visit_Name(self, node: ast.Name) -> ast.Name:  # noqa: N802
        """Refuse other ways of setting a variable: in a loop, ``+=``, unpacking."""
        if node.id in self.variables and not isinstance(node.ctx, ast.Load):
            raise UserError(
                f'--cfg-options {node.id}: the config makes {node.id!r} in line '
                f'{node.lineno} by more than `{node.id} = ...`, so what a new value '
                'means is not clear. Set the keys made from it'
            )
        return node


def like(name: str, value: Any, old: Any) -> Any:
    """Return a new value of a variable in the form of the old one.

    A folder written with a slash at its end gets one: names are appended to it.

    Raises:
        UserError: If the two are of different kinds.
    """
    kinds = [_kind(old), _kind(value)]
    if old is not None and kinds[0] != kinds[1]:
        raise UserError(
            f'--cfg-options {name}={value}: the variable {name!r} of the config is '
            f'{kinds[0]}, this is {kinds[1]}. Set the keys made from it'
        )
    if isinstance(old, str) and old.endswith('/') and not value.endswith('/'):
        return f'{value}/'
    return value


def _kind(value: Any) -> str:
    if isinstance(value, list | tuple):
        return (
            'a list of dicts' if any(isinstance(v, dict) for v in value) else 'a list'
        )
    if isinstance(value, bool):
        return 'true or false'
    kinds = {int: 'a number', float: 'a number', str: 'a text'}
    return kinds.get(type(value), 'a dict' if isinstance(value, dict) else 'nothing')
