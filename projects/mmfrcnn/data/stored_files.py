"""Pickles and YAML that mmdet's data sets name, read as values.

mmengine reads a file by its ending: ``ann_file='x.pkl'`` or ``proposal_file='x.pkl'``
executes what is in it, and so does YAML. Those of a data set hold numbers, texts and
boxes, and here nothing else is read.
"""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from mmengine.fileio import get, load
from mmengine.structures import InstanceData

from mmfrcnn.compat.array_pickles import KNOWN, RefusedError, StoredArray, load_arrays
from mmfrcnn.data.formats.documents import json_values, yaml_values
from mmfrcnn.errors import UserError, reason_of

READERS = (
    'mmengine.dataset.base_dataset',
    'mmdet.datasets.base_det_dataset',
    'mmdet.datasets.crowdhuman',
    'mmdet.datasets.openimages',
)
"""Modules that take ``load`` from mmengine."""


class StoredInstances:
    """Stand for ``InstanceData`` in a pickle, as mmdet stores proposals."""

    fields: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.fields = {key: one for key, one in state.items() if key[:1] != '_'}


NAMES = {
    **KNOWN,
    'mmengine.structures.instance_data.InstanceData': StoredInstances,
    '__builtin__.set': set,
}


def load_values(
    file: str | Path,
    *,
    file_format: str | None = None,
    backend_args: dict | None = None,
) -> Any:
    """Stand for mmengine's ``load``: JSON, YAML and pickles of values and arrays.

    Args:
        file (str | Path): The file, or an address that mmengine reads.
        file_format (str | None): ``json``, ``yaml``, ``pkl``; None: by the file's name.
        backend_args (dict | None): How mmengine is to read it.

    Raises:
        UserError: If a pickle asks for anything else, or the file is broken.
    """
    kind = file_format or Path(file).suffix[1:]
    if kind not in ('json', 'pickle', 'pkl', 'yaml', 'yml'):
        return load(file, backend_args=backend_args)  # says that it reads no other
    content = get(str(file), backend_args=backend_args)
    if kind == 'json':
        return json_values(content, file)
    if kind in ('yaml', 'yml'):
        return yaml_values(content, file)
    try:
        return _as_numpy(load_arrays(BytesIO(content), NAMES))
    except RefusedError as error:
        raise UserError(
            f'{file} was not read: it asks for {reason_of(error)}, and annotations '
            'and proposals are numbers, texts and boxes. Nothing in it was executed. '
            'Save it as JSON, or proposals with `mmfrcnn store-proposals`'
        ) from None
    except Exception as error:  # a damaged pickle can raise any
        raise UserError(
            f'{file} is no complete pickle ({type(error).__name__})'
        ) from None


def _as_numpy(value: Any) -> Any:
    """Return a value with arrays in place of what stands for them."""
    if isinstance(value, StoredArray):
        return value.array
    if isinstance(value, StoredInstances):
        return InstanceData(**_as_numpy(value.fields))
    if isinstance(value, dict):
        return {key: _as_numpy(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_as_numpy(one) for one in value)
    return value


def install() -> None:
    """Have the data sets of mmengine and mmdet read so; again, it changes nothing."""
    for name in READERS:
        import_module(name).load = load_values  # type: ignore[attr-defined]
