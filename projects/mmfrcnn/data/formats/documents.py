"""Files of YAML and JSON that came with a data set: values, of a size that they show.

YAML can name a part and repeat it by its name, so that a few lines stand for a billion
names; and a text of brackets alone takes a reader deeper than Python goes. Annotations
of any tool use neither.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from mmfrcnn.data.formats.texts import read_file
from mmfrcnn.errors import UserError

DEEPEST = 50
LONGEST = 10_000_000
"""Bytes of a YAML file, which is read a million a second: names of classes, paths."""


class _PlainLoader(yaml.SafeLoader):
    """Plain values, each written where it is."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a part, unless it is a name of another or too deep in others."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f'*{self.peek_event().anchor}: write it out')
        if self._depth == DEEPEST:
            raise yaml.YAMLError(f'more than {DEEPEST} lists in each other')
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def read_yaml(path: Path) -> Any:
    """Read a YAML file in UTF-8, without tags and aliases.

    Raises:
        FileNotFoundError: If there is none.
        UserError: If it is broken, or asks for more than plain values.
    """
    return yaml_values(read_file(path), path)


def yaml_values(content: bytes, path: str | Path) -> Any:
    """Read the content of a YAML file, as :func:`read_yaml`.

    Raises:
        UserError: If it is broken, or asks for more than plain values.
    """
    if len(content) > LONGEST:
        raise UserError(f'{path}: YAML of {len(content)} bytes, of {LONGEST} at most')
    try:
        return yaml.load(content.decode('utf-8-sig'), _PlainLoader)
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not text in UTF-8 ({error})') from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of a date, a number
        reason = ' '.join(str(error).split())
        raise UserError(f'{path}: broken YAML ({reason})') from error


def read_json(path: Path) -> Any:
    """Read a JSON file in any UTF.

    Raises:
        FileNotFoundError: If there is none.
        UserError: If it is broken, or too deep.
    """
    return json_values(read_file(path), path)


def json_values(content: bytes, path: str | Path) -> Any:
    """Read the content of a JSON file, as :func:`read_json`.

    Raises:
        UserError: If it is broken, or too deep.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path}: broken JSON ({error}). Is it cut off?') from error
