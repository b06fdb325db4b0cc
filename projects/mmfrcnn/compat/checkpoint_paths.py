"""The files that a checkpoint names, which mmengine deletes when training goes on.

A run keeps one best checkpoint: a better one replaces the file, or the folder, whose
path is in the checkpoint that was resumed from. That path may be any: the home of
whoever resumes. So only a run's own best checkpoint, beside the one that names it,
stays named; and checkpoints that are counted are so by numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def forget_other_files(loaded: Any, path: str) -> None:
    """Take out of a checkpoint, in place, the names of files that are not its run's.

    Args:
        loaded (Any): The checkpoint, its parts checked.
        path (str): Its file.
    """
    info = (loaded.get('message_hub') or {}).get('runtime_info') or {}
    for key in [key for key in info if str(key).startswith('best_ckpt')]:
        if not _is_beside(info[key], path):
            info[key] = None
    kept = info.get('keep_ckpt_ids')
    if kept is not None and not _are_counts(kept):
        del info['keep_ckpt_ids']


def _is_beside(named: Any, path: str) -> bool:
    """Whether a file is named as best ones are, in the folder of the checkpoint."""
    if not isinstance(named, str):
        return False
    best = Path(named)
    beside = best.parent.resolve() == Path(path).expanduser().parent.resolve()
    return beside and best.match('best_*.pth') and not best.is_dir()


def _are_counts(kept: Any) -> bool:
    return isinstance(kept, list) and all(type(one) is int for one in kept)
