"""Checkpoints as ``.safetensors``: tensors by name and nothing else.

Needs the package of that name, the extra ``safetensors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from torch import Tensor

from mmfrcnn.errors import UserError, reason_of

# What a file has beyond the weights, such as rows that only their source needs.
EXTRA = 'extras.'


def package() -> ModuleType:
    """Return the package's module for torch.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import safetensors.torch
    except ImportError:
        raise UserError(
            'files that end in .safetensors need the package of that name, which is '
            'not installed: pip install safetensors. Or use a .pth file'
        ) from None
    return safetensors.torch


def read(path: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Read the weights and the extras of a file, each by name.

    Raises:
        UserError: If the file is damaged or the package is missing.
    """
    library = package()
    try:
        tensors = library.load_file(path)
    except FileNotFoundError:
        raise UserError(f'no such checkpoint: {path}') from None
    except Exception as error:  # the package's own class, or an operating system's
        raise UserError(
            f'{path} is not a complete .safetensors file ({reason_of(error)}). '
            'Use another'
        ) from None
    extras = {
        key.removeprefix(EXTRA): tensors.pop(key)
        for key in list(tensors)
        if key.startswith(EXTRA)
    }
    return tensors, extras


def write(
    path: str, tensors: Mapping[str, Tensor], extras: Mapping[str, Tensor]
) -> None:
    """Write weights and extras.

    Raises:
        UserError: If the package is missing.
    """
    named = {f'{EXTRA}{key}': tensor for key, tensor in extras.items()}
    package().save_file({**tensors, **named}, path, metadata={'format': 'pt'})
