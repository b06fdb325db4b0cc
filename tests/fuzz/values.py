"""Values that a file may hold and nobody expects."""

from __future__ import annotations

from random import Random
from typing import Any

DEEP = '\ue000deep'
"""Stands in a tree for lists in lists, which `as_json` writes out."""
DEPTHS = (20, 200, 600, 900, 100_000)
NUMBERS: tuple[Any, ...] = (
    *(0, -0.0, 1, -1, 0.5, 2, 3.7, 7, 100, 255, 1e-320, 1e20, 1e308, -1e308),
    *(float('nan'), float('inf'), float('-inf'), 2**31, -(2**31), 2**53 + 1, 2**63),
    *(2**64, 10**400, -(10**400), True, False),
)
TEXTS = (
    *('', ' ', 'a', '0', '1', '2', '-1', '1.5', 'nan', 'inf', 'sNaN', '1e999', 'true'),
    *(
        '\0',
        'a\0b',
        '\ud800',
        'a\nb',
        'a\rb',
        '\x1b[31mred',
        '\u2028',
        '\ufeff',
        '\x85',
    ),
    *('x' * 3000, '../../x', '/etc/hostname', '.', '..', 'a/../a.png', 'a\\b.png'),
    *('é', 'e\u0301', '٣', '²', '1_0', '0x10', 'None', '{}', '%s', '{0}', 'b.png'),
    *('cat', 'Cat', ' cat', 'a.png', './a.png', 'a.png/', 'NaN' * 500),
)
NUMBER_TEXTS = (
    *('nan', 'NaN', 'sNaN', '-sNaN', 'nan123', 'inf', '-inf', 'Infinity', '1e308'),
    *('1e999', '1e-999', '1e999999999', '-0', '0', '1', '-1', '0.5', '1_0', '0x10'),
    *('٣', '²', '\uff11', '+1', '1.', '.5', '1e', '--1', '1,5', '9' * 400, '9' * 5000),
    *('0' * 5000 + '1', '', ' ', '"1"', '1\0', '1e+30', '-1e-30', '65536'),
)


def hostile(rng: Random) -> Any:
    """Return a value of JSON, of any kind."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(NUMBERS)
    if kind < 0.75:
        return rng.choice(TEXTS)
    if kind < 0.8:
        return None
    if kind < 0.81:
        return DEEP
    return rng.choice(CONTAINERS)()


CONTAINERS = (
    *(
        list,
        dict,
        lambda: [[]],
        lambda: [{}],
        lambda: [1],
        lambda: ['a'],
        lambda: [None],
    ),
    *(lambda: {'a': 1}, lambda: {'id': 1}, lambda: {'': {}}, lambda: [1, 2, 3, 4]),
    *(lambda: [1, 2], lambda: ['1', '2', '3', '4'], lambda: [[1, 2], [3, 4]]),
    *(
        lambda: [float('nan')] * 4,
        lambda: [0] * 2000,
        lambda: {str(i): i for i in range(500)},
    ),
)
