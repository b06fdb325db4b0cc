"""Checkpoints of mmengine under torch's weights-only loading.

Since torch 2.6 `torch.load` unpickles nothing but tensors and plain containers, and
mmengine's own checkpoints hold a little more: its log histories, as numpy arrays. These
few classes are allowed by name, and none of them runs code from the file. There is no
other way in: a checkpoint that asks for anything else is refused. That holds for what
is downloaded too, where torch's own default is still to unpickle everything.
"""

from __future__ import annotations

import functools
import pickle
import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from mmfrcnn.compat import (
    checkpoint_saving,
    checkpoint_weights,
    safetensors,
    unpickling,
)
from mmfrcnn.compat.checkpoint_arrays import array_globals
from mmfrcnn.compat.checkpoint_bounds import check_contents
from mmfrcnn.compat.checkpoint_file import check_file
from mmfrcnn.compat.checkpoint_parts import check_parts, note_resumed
from mmfrcnn.compat.checkpoint_paths import forget_other_files
from mmfrcnn.errors import UserError


class OneCycleMethods:
    """Stands in files for the schedule whose state held one of these two functions."""

    _annealing_cos = staticmethod(OneCycleParamScheduler._annealing_cos)
    _annealing_linear = staticmethod(OneCycleParamScheduler._annealing_linear)


METHODS = {
    HistoryBuffer: ('min', 'max', 'mean', 'current'),
    OneCycleMethods: ('_annealing_cos', '_annealing_linear'),
}
"""What a file may take out of a class: all that mmengine ever pickled so."""


def known_method(owner: Any, name: str) -> Any:
    """Stand for ``getattr`` in a file: mmengine pickles methods by it.

    Raises:
        pickle.UnpicklingError: If it is asked for anything but `METHODS`.
    """
    if isinstance(owner, type) and name in METHODS.get(owner, ()):
        return getattr(owner, name)
    raise pickle.UnpicklingError('GLOBAL builtins.getattr of something else')


def allowed_globals() -> list[Any]:
    """Return what a checkpoint may name beyond torch's own list.

    Returns:
        list: Classes, or pairs of an object and the name it has in files.
    """
    one_cycle = f'{OneCycleParamScheduler.__module__}.OneCycleParamScheduler'
    return [
        HistoryBuffer,
        (known_method, 'builtins.getattr'),
        (OneCycleMethods, one_cycle),
        *array_globals(),
    ]


def install() -> None:
    """Allow the list above; make of mmengine's loading errors one clear message."""
    torch.serialization.add_safe_globals(allowed_globals())
    unpickling.install()
    if hasattr(checkpoint, '_safe_torch_load'):
        checkpoint._safe_torch_load = _load_weights_only
    checkpoint.load_url = _download_weights_only
    load = CheckpointLoader.load_checkpoint.__func__
    if not hasattr(load, '__wrapped__'):
        CheckpointLoader.load_checkpoint = classmethod(_with_clear_errors(load))
    OneCycleParamScheduler.state_dict = _values_of_one_cycle
    checkpoint_weights.install()
    checkpoint_saving.install()


def _values_of_one_cycle(self: OneCycleParamScheduler) -> dict[str, Any]:
    """Stand for its ``state_dict``, without the function that it computes with.

    A scheduler that loads this keeps its own, which the config chose.
    """
    return {
        name: value
        for name, value in vars(self).items()
        if name not in ('optimizer', 'anneal_func')
    }


def _load_weights_only(file, map_location=None, weights_only=None):
    """Stand for the OneDL fork's loader, which falls back to unpickling everything."""
    return torch.load(file, map_location=map_location, weights_only=True)


def _download_weights_only(url: str, *arguments: Any, **options: Any) -> Any:
    """Stand for torch's loader of addresses, which would unpickle everything."""
    load = torch.hub.load_state_dict_from_url
    try:
        return load(url, *arguments, **options | {'weights_only': True})
    except URLError as error:
        raise UserError(
            f'{url} could not be downloaded ({error}). Without a connection, download '
            'it on another machine, and either name that file in place of it or put it '
            f'in {Path(torch.hub.get_dir()) / "checkpoints"}'
        ) from None


def _with_clear_errors(load):
    """Wrap ``CheckpointLoader.load_checkpoint``."""

    @functools.wraps(load)
    def load_checkpoint(cls, filename, map_location=None, logger='current'):
        cls.last_read = str(filename)
        check_file(str(filename))
        if str(filename).endswith('.safetensors') and '://' not in str(filename):
            return {'state_dict': safetensors.read(filename)[0]}
        try:
            loaded = load(cls, filename, map_location, logger)
        except FileNotFoundError:
            raise UserError(f'no such checkpoint: {filename}') from None
        except IsADirectoryError:
            raise UserError(f'{filename} is a folder, not a checkpoint') from None
        except MemoryError:
            raise UserError(
                f'{filename} was not loaded: it asks for more memory than there is'
            ) from None
        except Exception as error:
            if not _file_is_at_fault(filename, error):
                raise
            raise UserError(_refusal(filename, str(error))) from None
        check_contents(loaded, str(filename))
        check_parts(loaded, str(filename))
        note_resumed(loaded)
        forget_other_files(loaded, str(filename))
        # mmengine's `Runner.resume` would execute this text, Python from the file.
        loaded.get('meta', {}).pop('config', None)
        return loaded

    return load_checkpoint


def _file_is_at_fault(filename: str, error: Exception) -> bool:
    """Tell a bad file from a missing device, connection or package.

    What a damaged pickle raises can be any exception.
    """
    if isinstance(error, pickle.UnpicklingError):
        return True
    on_disk = Path(filename).expanduser().is_file()
    of_the_machine = isinstance(error, OSError) or 'CUDA' in str(error)
    return on_disk and not of_the_machine


def _refusal(filename: str, error: str) -> str:
    """Say why a checkpoint was not loaded."""
    name = re.search(r"GLOBAL (\S+)|got <class '(\w+\.[\w.]+)'>", error)
    if name is None:
        return (
            f'{filename} is not a complete checkpoint: it was cut off while being '
            'written, or is no checkpoint of torch. Use another'
        )
    return (
        f'{filename} was not loaded: it asks for {name[1] or name[2]}, and '
        'checkpoints may hold only tensors, numbers, texts and mmengine logs. '
        'If you trust the file, '
        'save its weights alone, where it was made: '
        "torch.save(model.state_dict(), 'new.pth')"
    )
