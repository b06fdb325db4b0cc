"""What the arrays of a ledger must be to each other: kinds, shapes, places."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmfrcnn.evaluation.ledger.matching import THRESHOLDS

ROWS = {
    'image': 'image_id',
    'object': 'object_label',
    'detection': 'detection_label',
}
"""The array of as many rows as a table has, by how the names of its arrays begin."""
WIDTHS = {'_box': (4,), '_size': (2,), '_scale': (2,)}
"""Numbers in a row of the arrays whose names end so; others have one."""
PLACES = {
    'object_image': ('image_id', 0),
    'object_label': ('classes', 0),
    'object_fate': ('fates', 0),
    'object_detection': ('detection_label', -1),
    'detection_image': ('image_id', 0),
    'detection_label': ('classes', 0),
    'detection_kind': ('kinds', 0),
    'detection_object': ('object_label', -1),
}
"""Arrays of places in others, and the least that they may hold."""
TEXTS = (
    *('image_id', 'image_path', 'object_size', 'object_aspect', 'object_crowding'),
    *('object_position', 'object_level', 'classes', 'fates', 'kinds'),
)
FINITE = ('object_box', 'detection_box', 'detection_score')


def check_layout(arrays: Mapping[str, np.ndarray]) -> None:
    """Check that the arrays of a file fit each other.

    Args:
        arrays (Mapping[str, np.ndarray]): Those of `Columns`, by name.

    Raises:
        ValueError: Naming the first that does not. A member of an archive that is no
            array comes as its bytes.
    """
    for name, one in arrays.items():
        kinds = 'U' if name in TEXTS else 'if'
        if not isinstance(one, np.ndarray) or one.dtype.kind not in kinds:
            raise ValueError(f'{name} is of another kind')
        one.tolist()  # a letter that is none is seen only so
    for name, one in arrays.items():
        if one.shape != _shape(name, arrays):
            raise ValueError(f'{name} is of the shape {one.shape}')
    for name, (other, least) in PLACES.items():
        places, count = arrays[name], len(arrays[other])
        outside = len(places) and not (least <= places.min() <= places.max() < count)
        if places.dtype.kind != 'i' or outside:
            raise ValueError(f'{name} holds no places in {other}')
    for name in ('object_image', 'detection_image'):
        if (np.diff(arrays[name]) < 0).any():
            raise ValueError(f'{name} is not sorted')
    if not np.array_equal(arrays['thresholds'], THRESHOLDS):
        raise ValueError("thresholds are not COCO's")
    for name in FINITE:
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f'{name} is not finite')


def _shape(name: str, arrays: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Return the shape that an array must have."""
    if name == 'detection_hits':
        return len(arrays['thresholds']), len(arrays[ROWS['detection']])
    table = name.partition('_')[0]
    if table not in ROWS:
        return (arrays[name].size,)
    # Groups by size are texts, a row each.
    is_wide = name not in TEXTS
    wide = next((w for end, w in WIDTHS.items() if is_wide and name.endswith(end)), ())
    return (len(arrays[ROWS[table]]), *wide)
