"""Trees of dicts and lists, as JSON holds them, changed here and there."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.fuzz.values import DEEP, DEPTHS, hostile


def changed(rng: Random, tree: Any, times: int = 1) -> Any:
    """Return a tree with some of its parts changed, in place where that is possible."""
    for _ in range(times):
        places = list(_places(tree))
        if not places or rng.random() < 0.01:
            return hostile(rng)
        holder, key = rng.choice(places)
        rng.choice(CHANGES)(rng, holder, key, places)
    return tree


def as_json(rng: Random, tree: Any) -> str:
    """Write a tree as JSON, in which a mark may stand for a nest of lists."""
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.5)
    if DEEP[1:] in text:
        depth = rng.choice(DEPTHS)
        opened, closed = rng.choice([('[', ']'), ('{"a":', '}')])
        nest = opened * depth + '1' + closed * depth
        text = text.replace(json.dumps(DEEP), nest).replace(f'"{DEEP}"', nest)
    return text


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every part."""
    keys = tree if isinstance(tree, dict) else range(len(tree))
    for key in list(keys) if isinstance(tree, dict | list) else ():
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def _replace(rng: Random, holder: Any, key: Any, places: list) -> None:
    holder[key] = hostile(rng)


def _remove(rng: Random, holder: Any, key: Any, places: list) -> None:
    del holder[key]


def _repeat(rng: Random, holder: Any, key: Any, places: list) -> None:
    if isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), holder[key])
    else:
        holder[f'{key}{rng.choice(["", " ", "2"])}'] = holder[key]


def _exchange(rng: Random, holder: Any, key: Any, places: list) -> None:
    """Put another part of the tree here, unless it holds this one."""
    other, name = rng.choice(places)
    holder[key] = copy.deepcopy(other[name])


def _rename(rng: Random, holder: Any, key: Any, places: list) -> None:
    if isinstance(holder, dict):
        new = rng.choice(['', 'x', 'id', f'{key}'.upper(), f'{key}\0'])
        holder[new] = holder.pop(key)
    else:
        holder[key] = [holder[key]]


def _as_text(rng: Random, holder: Any, key: Any, places: list) -> None:
    value = holder[key]
    if isinstance(value, int | float):
        holder[key] = rng.choice([str(value), -value, value * 10**300, value * 3])
    elif isinstance(value, str):
        holder[key] = rng.choice([value + '\n', value * 40, value.upper(), ' ' + value])


def _enclose(rng: Random, holder: Any, key: Any, places: list) -> None:
    holder[key] = [holder[key]] if rng.random() < 0.5 else {'a': holder[key]}


CHANGES = (
    *(_replace,) * 8,
    *(_remove,) * 3,
    *(_repeat, _exchange, _rename, _as_text, _as_text, _enclose),
)
