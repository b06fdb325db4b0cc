"""Checkpoints: which to resume from, and whether one fits the model."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmfrcnn.errors import UserError, did_you_mean


def check_checkpoint(path: str) -> None:
    """Check, before any data is prepared, that a checkpoint file loads.

    Addresses such as ``https://`` or ``torchvision://`` are left to mmengine.

    Raises:
        UserError: If it is missing, was cut off while being written, or asks for more
            than weights-only loading allows.
    """
    if '://' in path:
        return
    file = Path(path)
    if file.is_dir():
        raise UserError(f'{path} is a folder; name a checkpoint file in it')
    if not file.is_file():
        near = ''
        if file.parent.is_dir():
            near = did_you_mean(file.name, (f.name for f in _checkpoints(file.parent)))
        raise UserError(f'no such checkpoint: {path}.{near}')
    if file.suffix != '.safetensors' and not _is_complete(file):
        raise UserError(
            f'{path} ({file.stat().st_size} bytes) is not a complete checkpoint: it '
            'was cut off while being written, or is none of torch. Use another'
        )
    CheckpointLoader.load_checkpoint(path, map_location='cpu')


def _checkpoints(folder: Path) -> list[Path]:
    return [*folder.glob('*.pth'), *folder.glob('*.safetensors')]


def find_last_checkpoint(work_dir: str) -> tuple[str | None, list[str]]:
    """Find the checkpoint to resume from in a work folder.

    Args:
        work_dir (str): Where the CheckpointHook wrote.

    Returns:
        tuple: The newest complete checkpoint, or None; and the newer ones that are
        incomplete, because the process was killed while writing them.
    """
    files = [
        file
        for file in Path(work_dir).glob('*.pth')
        if re.fullmatch(r'(epoch|iter)_\d+\.pth', file.name)
    ]
    broken = []
    for file in sorted(files, key=lambda f: f.stat().st_mtime_ns, reverse=True):
        if _is_complete(file):
            return str(file), broken
        broken.append(str(file))
    return None, broken


def check_unused(work_dir: str) -> None:
    """Check that a run which starts anew overwrites no other run's checkpoints.

    Raises:
        UserError: If the work folder holds any that are complete.
    """
    last, _ = find_last_checkpoint(work_dir)
    last = last or next(map(str, Path(work_dir).glob('best_*.pth')), None)
    if last is not None:
        raise UserError(
            f'{work_dir} holds checkpoints of another run, such as {last}, which this '
            'one would overwrite or delete. Choose another --work-dir, or continue '
            'that run with --resume'
        )


def _is_complete(file: Path) -> bool:
    """Whether a file ends as torch's zip format does, or is of the format before it."""
    if zipfile.is_zipfile(file):
        return True
    with open(file, 'rb') as stream:
        return stream.read(2) == b'\x80\x02'  # torch < 1.6: no way to see the end


def check_weights(model: nn.Module, weights: Mapping[str, Tensor], path: str) -> None:
    """Check that the weights of a checkpoint are those of a model, by name and shape.

    Args:
        model (nn.Module): The model of the config.
        weights (Mapping[str, Tensor]): The checkpoint's ``state_dict``.
        path (str): The checkpoint, for the message.

    Raises:
        UserError: If the model would keep random weights, or have others left over.
    """
    own = model.state_dict()
    wrong = [f'{name} is missing' for name in own.keys() - weights.keys()]
    wrong += [f'{name} is not in the model' for name in weights.keys() - own.keys()]
    wrong += [
        f'{name} is {tuple(weights[name].shape)}, in the model {tuple(own[name].shape)}'
        for name in own.keys() & weights.keys()
        if weights[name].shape != own[name].shape
    ]
    if wrong:
        shown = '; '.join(sorted(wrong)[:3]) + ('; ...' if len(wrong) > 3 else '')
        raise UserError(
            f'{path} is not of the model in this config: {len(wrong)} weights differ '
            f'({shown}). Use the config it was trained with'
        )
