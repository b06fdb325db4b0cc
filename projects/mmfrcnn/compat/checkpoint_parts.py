"""What the parts of a checkpoint must be, checked once where any of them is loaded.

mmengine and mmdet take the parts for granted: a list in place of a dict ends in a
traceback far away, or is passed over. Parts that are absent are no fault here; whoever
needs one says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from mmfrcnn.errors import UserError

LARGEST_SEED = 2**32 - 1  # numpy's
LOG = ('log_scalars', 'runtime_info', 'resumed_keys')
"""What `MessageHub.state_dict` has, and a training that goes on needs."""


def check_parts(loaded: Any, path: str) -> None:
    """Check the kinds of a checkpoint's parts, as far as it has them.

    Args:
        loaded (Any): What the file holds. Keys that no reader here takes may be
            anything, as in the files of other frameworks.
        path (str): The checkpoint, for the message.

    Raises:
        UserError: Naming the part, what it is and what it should be.
    """
    if not isinstance(loaded, Mapping):
        raise _wrong(path, 'it', loaded, 'a dict of weights by name')
    for key, (fits, expected) in PARTS.items():
        value: Any = loaded
        *parents, last = key.split('.')
        for parent in parents:
            value = value.get(parent) or {}
        if last in value and not fits(value[last]):
            raise _wrong(path, key, value[last], expected)


def note_resumed(loaded: Any) -> None:
    """Note in a checkpoint, in place, which values of its log are resumed: all of them.

    mmengine stores no others, and ends a training where a note says otherwise.
    """
    log = loaded.get('message_hub')
    if log:
        held = [*log.get('log_scalars', ()), *log.get('runtime_info', ())]
        log['resumed_keys'] = dict.fromkeys(held, True)


def _wrong(path: str, part: str, value: Any, expected: str) -> UserError:
    shown = repr(value) if isinstance(value, str | int) else ''
    found = f'{type(value).__name__} {shown[:40]}'.strip()
    return UserError(
        f'{path} is no checkpoint that can be used: {part} is {found}, not {expected}. '
        'Use another, or save it again where it was made'
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _by_name(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _dict_of_dicts(value: Any) -> bool:
    return _by_name(value) and all(isinstance(part, Mapping) for part in value.values())


def _counts(value: Any) -> bool:
    return _by_name(value) and all(map(_is_count, value.values()))


def _list_of_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _states(value: Any) -> bool:
    """Whether it is the states of schedulers, in a list or in lists by name."""
    lists = value.values() if isinstance(value, Mapping) else [value]
    return all(_list_of_dicts(states) for states in lists)


def _names(value: Any) -> bool:
    is_list = isinstance(value, list | tuple)
    return is_list and all(isinstance(name, str) for name in value)


def _tensors(value: Any) -> bool:
    return _by_name(value) and all(isinstance(one, Tensor) for one in value.values())


BY_NAME = (_by_name, 'a dict by name')
COUNT = (_is_count, 'a count')
NAMES = (_or_none(_names), 'a list of names')
PARTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    'state_dict': (_by_name, 'a dict of weights by name'),
    'ema_state_dict': (_by_name, 'a dict of weights by name'),
    'extras': BY_NAME,
    'meta': BY_NAME,
    'meta.epoch': COUNT,
    'meta.iter': COUNT,
    'meta.seed': (
        _or_none(lambda seed: _is_count(seed) and seed <= LARGEST_SEED),
        f'a number from 0 to {LARGEST_SEED}',
    ),
    'meta.dataset_meta': (_or_none(_by_name), 'a dict by name'),
    'meta.dataset_meta.classes': NAMES,
    'meta.dataset_meta.CLASSES': NAMES,
    'meta.CLASSES': NAMES,
    'message_hub': (_dict_of_dicts, 'a dict of dicts by name'),
    'message_hub.runtime_info.averaged_in_results': (_counts, 'a dict of counts'),
    'optimizer': BY_NAME,
    'param_schedulers': (_states, 'a list of dicts'),
    'accumulated_gradients': (_tensors, 'a dict of tensors by name'),
}
"""Dotted key of each part, outer ones first: whether a value fits, and what does."""
