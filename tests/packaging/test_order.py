"""No import runs upward between the rooms of the package, and none in a circle."""

from __future__ import annotations

import ast
import functools
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PROJECTS = Path(__file__).resolve().parents[2] / 'projects'
# From the ground up; rooms of one floor do not know of each other.
FLOORS = (
    {'errors', 'cores', 'files'},
    {'ops'},
    {'structures'},
    {'compat'},
    {'data'},
    {'modeling'},
    {'weights'},
    {'evaluation', 'visualization'},
    {'training'},
    {'deploy', 'report'},
    {'cli'},
    {'__main__'},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PURE = ('mmdet', 'mmengine', 'mmcv')


# Run without the package being imported, which needs the very things it looks for.
BY_ITSELF = 'compat/doctor'


@functools.cache
def imported(path: Path) -> list[tuple[str, str]]:
    """List (module, name) of every import of a file, absolute; name may be ''."""
    found = []
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Import):
            found += [(alias.name, '') for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level and BY_ITSELF in path.as_posix():
                continue
            assert node.level == 0, f'{path}:{node.lineno}: imports are absolute here'
            found += [(node.module, alias.name) for alias in node.names]
    return found


def modules() -> dict[str, Path]:
    paths = (PROJECTS / 'mmfrcnn').rglob('*.py')
    found = {}
    for path in paths:
        parts = path.relative_to(PROJECTS).with_suffix('').parts
        found['.'.join(parts).removesuffix('.__init__')] = path
    return found


MODULES = modules()
# The package's own door imports every room, to register what is in it.
INSIDE = {name: path for name, path in MODULES.items() if name != 'mmfrcnn'}


def targets(path: Path) -> set[str]:
    """Return the modules of the package that a file imports."""
    found = set()
    for module, name in imported(path):
        for candidate in (f'{module}.{name}', module):
            if candidate in INSIDE:
                found.add(candidate)
                break
    return found


@pytest.mark.parametrize('name', INSIDE)
def test_imports_run_downward(name):
    room = name.split('.')[1]
    for target in targets(INSIDE[name]):
        other = target.split('.')[1]
        if other != room:
            assert FLOOR[other] < FLOOR[room], f'{name} imports {target}, upward'


def test_no_circle_between_files():
    graph = {name: targets(path) - {name} for name, path in INSIDE.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises on a circle, and names it


def test_every_room_has_its_floor():
    assert {name.split('.')[1] for name in INSIDE} == set(FLOOR)


@pytest.mark.parametrize('name', [n for n in INSIDE if n.startswith('mmfrcnn.ops')])
def test_ops_are_of_tensors_alone(name):
    for module, _ in imported(INSIDE[name]):
        assert module.split('.')[0] not in PURE, f'{name} imports {module}'


@pytest.mark.parametrize('path', sorted((PROJECTS / 'mmfrcnn_benchmark').glob('*.py')))
def test_the_benchmark_is_asked_by_nobody(path):
    assert path.is_file()
    for name, source in MODULES.items():
        for module, _ in imported(source):
            assert not module.startswith('mmfrcnn_benchmark'), name
