"""Files of weights: read and written, ``.pth`` or ``.safetensors``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mmfrcnn.compat import safetensors
from mmfrcnn.errors import UserError
from mmfrcnn.weights.mapping import Weights
from mmfrcnn.weights.pickles import read_pickle

SUFFIXES = ('.pth', '.pt', '.safetensors')
WEIGHTS_KEYS = ('state_dict', 'model')  # where checkpoints keep them


def read_tensors(path: str) -> dict[str, Tensor]:
    """Read the weights of any file: ``.pth``, ``.safetensors`` or ``.pkl``.

    Raises:
        UserError: If the file is missing, damaged, or holds anything but weights.
    """
    return read_weights(path).tensors


def read_weights(path: str) -> Weights:
    """Read weights with the extras that our own files have beside them."""
    if not Path(path).is_file():
        raise UserError(f'no such file: {path}')
    if path.endswith('.pkl'):
        return Weights(read_pickle(path))
    if path.endswith('.safetensors'):
        return Weights(*safetensors.read(path))
    loaded = CheckpointLoader.load_checkpoint(path, 'cpu')
    tensors: Any = loaded
    for key in WEIGHTS_KEYS:
        if isinstance(tensors, Mapping) and isinstance(tensors.get(key), Mapping):
            tensors = tensors[key]
    if not isinstance(tensors, Mapping) or not tensors:
        raise UserError(f'{path} holds no weights by name')
    for key, value in tensors.items():
        if not isinstance(value, Tensor):
            raise UserError(f'{path}: {key} is {type(value).__name__}, not a tensor')
    extras = loaded.get('extras', {}) if tensors is not loaded else {}
    return Weights(dict(tensors), dict(extras))


def write_weights(path: str, weights: Weights) -> None:
    """Write our weights, with their extras."""
    tensors = {key: tensor.contiguous() for key, tensor in weights.tensors.items()}
    extras = {key: tensor.contiguous() for key, tensor in weights.extras.items()}
    if path.endswith('.safetensors'):
        safetensors.write(path, tensors, extras)
    else:
        content: dict[str, Any] = {'meta': {}, 'state_dict': tensors}
        torch.save({**content, 'extras': extras} if extras else content, path)


def write_state_dict(path: str, tensors: Mapping[str, Tensor]) -> None:
    """Write a plain ``state_dict``, as other frameworks read it."""
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    if path.endswith('.safetensors'):
        safetensors.write(path, tensors, {})
    else:
        torch.save(tensors, path)


def check_output(path: str) -> None:
    """Check that a file of this name can be written, before the work.

    Raises:
        UserError: If its kind is unknown or its folder is missing, or it is
            ``.safetensors`` and the package is missing.
    """
    if not path.endswith(SUFFIXES):
        raise UserError(f'{path}: name the output .pth or .safetensors')
    if not Path(path).parent.is_dir():
        raise UserError(f'{path}: there is no folder {Path(path).parent}')
    if path.endswith('.safetensors'):
        safetensors.package()
