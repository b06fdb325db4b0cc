"""Checkpoint files: whether one loads, and which to resume from."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader

from mmfrcnn.compat.checkpoint_file import damage_of
from mmfrcnn.errors import UserError, did_you_mean


def check_checkpoint(path: str) -> None:
    """Check, before any data is prepared, that a checkpoint file loads.

    Addresses such as ``https://`` or ``torchvision://`` are left to mmengine.

    Raises:
        UserError: If it is missing, was cut off while being written, or asks for more
            than weights-only loading allows.
    """
    if '://' not in path:
        read_checkpoint(path)


def read_checkpoint(path: str) -> dict[str, Any]:
    """Load a checkpoint file, weights-only, onto the CPU; or an address, by mmengine.

    Raises:
        UserError: See :func:`check_checkpoint`.
    """
    if '://' not in path:
        _check_file(path)
    return CheckpointLoader.load_checkpoint(path, 'cpu', logger='silent')


def _check_file(path: str) -> None:
    file = Path(path)
    if file.is_dir():
        raise UserError(f'{path} is a folder; name a checkpoint file in it')
    if file.is_symlink() and not file.exists():
        raise UserError(f'{path} is a link that leads to no file; name the checkpoint')
    if not file.is_file():
        near = ''
        if file.parent.is_dir():
            near = did_you_mean(file.name, (f.name for f in _checkpoints(file.parent)))
        raise UserError(f'no such checkpoint: {path}.{near}')


def _checkpoints(folder: Path) -> list[Path]:
    return [*folder.glob('*.pth'), *folder.glob('*.safetensors')]


def find_last_checkpoint(
    work_dir: str, template: str | None = None
) -> tuple[str | None, dict[str, str]]:
    """Find the checkpoint to resume from in a work folder.

    Args:
        work_dir (str): Where the CheckpointHook wrote.
        template (str | None): Its ``filename_tmpl``, besides its default ones.

    Returns:
        tuple: The newest complete checkpoint, or None; and of the newer ones that are
        damaged, what is wrong with each.
    """
    names = r'(epoch|iter)_\d+\.pth'
    if template:
        parts = [
            re.escape(text) + (r'\s*\d+\s*' if field is not None else '')
            for text, field, _, _ in Formatter().parse(template)
        ]
        names += '|' + ''.join(parts)
    files = [
        file
        for file in Path(work_dir).glob('*')
        if re.fullmatch(names, file.name) and file.is_file()
    ]
    broken = {}
    for file in sorted(files, key=lambda f: f.stat().st_mtime_ns, reverse=True):
        damage = damage_of(file)
        if not damage:
            return str(file), broken
        broken[str(file)] = damage
    return None, broken
