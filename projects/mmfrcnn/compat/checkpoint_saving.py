"""Checkpoints that a full disk, a kill or a flipped bit cannot take away.

mmengine writes a checkpoint under its final name, and removes the one that it replaces
before. Here it has its name when it is whole and on the disk, and only then is another
removed.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import checkpoint, runner

from mmfrcnn.compat.checkpoint_file import damage_of
from mmfrcnn.errors import UserError
from mmfrcnn.files import written_whole


def install() -> None:
    """Put `save` in the place of mmengine's, and let its hook remove files later."""
    if getattr(CheckpointHook, 'removes_later', False):
        return
    others = checkpoint.save_checkpoint
    save = functools.wraps(others)(functools.partial(_save, others))
    checkpoint.save_checkpoint = runner.save_checkpoint = save
    for name in ('_save_checkpoint_with_step', '_save_best_checkpoint'):
        method = getattr(CheckpointHook, name)
        setattr(CheckpointHook, name, _removing_later(method))
    CheckpointHook.removes_later = True


def _save(
    others: Callable[..., None],
    content: dict[str, Any],
    filename: str,
    file_client_args: dict[str, Any] | None = None,
    backend_args: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint; of addresses, mmengine's own way.

    Raises:
        UserError: If the disk is full, the folder cannot be written to, or what was
            written reads otherwise. The file that had the name is as it was.
    """
    if file_client_args or backend_args or '://' in filename:
        others(content, filename, file_client_args, backend_args)
        return
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        with written_whole(filename) as stream:
            stream.write(buffer.getbuffer())
            stream.seek(0)
            damage = damage_of(stream)
            if damage:
                raise OSError(f'what was written is not what is read: {damage}')
    except OSError as error:
        raise _cannot_write(filename, error) from error


def _cannot_write(filename: str, error: OSError) -> UserError:
    folder = Path(filename).parent
    return UserError(
        f'the checkpoint {filename} cannot be written: {error.strerror or error}. '
        f'Those before it in {folder} are as they were: make room there, and go on '
        'with --resume'
    )


class _RemovesLater:
    """A file backend that only notes what is to be removed.

    Args:
        backend (Any): mmengine's, which does the rest.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._outdated: list[tuple[Callable[[str], None], str, int | None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        """Note a file."""
        self._outdated.append((self._backend.remove, path, _file_number(path)))

    def rmtree(self, path: str) -> None:
        """Note a folder."""
        self._outdated.append((self._backend.rmtree, path, _file_number(path)))

    def remove_now(self) -> None:
        """Remove what was noted, but for what a new file has taken the name of."""
        for remove, path, number in self._outdated:
            if _file_number(path) == number:
                remove(path)


def _file_number(path: str) -> int | None:
    """Tell a file from another that has its name later."""
    return os.stat(path).st_ino if os.path.exists(path) else None


def _removing_later(method: Callable[..., None]) -> Callable[..., None]:
    """Wrap a method of mmengine's hook that removes checkpoints and saves one.

    Hooks that have a ``before_saving`` are called with it in every process; mmengine's
    ``before_save_checkpoint`` is for the main one alone.
    """

    @functools.wraps(method)
    def saving(self: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
        backend = getattr(self, 'file_backend', None)
        if backend is None:  # nothing is trained, so nothing is saved
            method(self, runner, *args, **kwargs)
            return
        runner.call_hook('before_saving')
        self.file_backend = patient = _RemovesLater(backend)
        try:
            method(self, runner, *args, **kwargs)
        except OSError as error:  # of the note that names the last checkpoint
            raise _cannot_write(error.filename or str(self.out_dir), error) from error
        finally:
            self.file_backend = backend
        patient.remove_now()

    return saving
