"""What a training leaves behind: which checkpoint is meant, and its config.

The config inside a checkpoint wins over a file beside it: it is the one that the
weights were trained with, and cannot be parted from them. Both are read as values,
never executed; a config that the user names is executed, as everywhere in mmengine.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmfrcnn.compat.config_bases import config_path
from mmfrcnn.compat.config_text import config_of_text, stored_config, stored_text
from mmfrcnn.errors import UserError, first_of

REMEDY = "Give the config file it was trained with as config='...'"


def find_checkpoint(source: str | Path) -> Path:
    """Return a checkpoint file, or that of a run's folder.

    Of a folder it is the best one (``best_*.pth``), else the last one, as the file
    ``last_checkpoint`` names it.

    Raises:
        UserError: If the folder has none, or several best ones; or for an address.
    """
    if '://' in str(source):
        raise UserError(
            f'{source} is an address, and nothing is fetched: download the file, check '
            'it, and give its path'
        )
    path = Path(source).expanduser().absolute()
    if not path.is_dir():
        return path
    best = sorted(path.glob('best_*.pth'))
    if len(best) > 1:
        names = first_of([file.name for file in best])
        raise UserError(
            f'{path} holds {len(best)} best checkpoints ({names}): name one'
        )
    if best:
        return best[0]
    note = path / 'last_checkpoint'
    # It names the file as the training saw it; the folder may be elsewhere by now.
    last = path / Path(note.read_text().strip()).name if note.is_file() else None
    if last and last.is_file():
        return last
    others = first_of(sorted(file.name for file in path.glob('*.pth'))) or 'none at all'
    raise UserError(
        f'{path}: no best_*.pth here, and no file that last_checkpoint names '
        f'(checkpoints: {others}). Name a checkpoint file'
    )


def find_config(source: str | Path, checkpoint: Path, loaded: dict[str, Any]) -> Config:
    """Return the config in a checkpoint, else the one beside it in a run's folder.

    Args:
        source (str | Path): What the user named, the checkpoint or the folder.
        checkpoint (Path): The checkpoint.
        loaded (dict): What it holds.

    Raises:
        UserError: If there is none, or it is more than harmless values.
    """
    beside = sorted(f for f in checkpoint.parent.glob('*.py') if f.is_file())
    if stored_text(loaded) or Path(source).is_file() or len(beside) != 1:
        return Config(stored_config(loaded, str(checkpoint), REMEDY))
    text = beside[0].read_text('utf-8', errors='replace')
    return Config(config_of_text(text, str(beside[0]), REMEDY))


def given_config(config: str | Path | dict | Config) -> Config:
    """Return a copy of the user's own config, of which a file is executed.

    Raises:
        UserError: If there is no such file, or reading it fails.
    """
    if isinstance(config, dict):
        return Config(copy.deepcopy(config))
    if isinstance(config, Config):
        return copy.deepcopy(config)
    path = config_path(str(config))
    if not Path(path).is_file():
        raise UserError(f'no such config file: {config}')
    try:
        return Config.fromfile(path)
    except Exception as error:  # it is a program
        reason = f'{type(error).__name__}: {error}'
        raise UserError(f'{config} could not be read ({reason})') from error
