"""An image that cannot be loaded, in the middle of a run, said by name.

The checks see every image before the first step. Until it is loaded, and loaded again,
it may be deleted, emptied or cut off; mmcv's loader then fails without its name.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import cv2
from mmcv.transforms import LoadImageFromFile

from mmfrcnn.data.checks.intact import why_undecodable
from mmfrcnn.errors import UserError


def install() -> None:
    """Have mmcv's loader of images name what it cannot load."""
    load = LoadImageFromFile.transform
    if hasattr(load, '__wrapped__'):
        return

    @functools.wraps(load)
    def transform(self: LoadImageFromFile, results: dict[str, Any]) -> dict | None:
        try:
            return load(self, results)
        except (OSError, AssertionError, cv2.error) as error:
            path = results.get('img_path')
            if not isinstance(path, str | Path) or '://' in str(path):
                raise
            raise UserError(
                f'{path}: the image cannot be loaded: {_reason(path)}. Put it back as '
                'it was annotated, or take it out of the annotations; a training goes '
                'on with --resume'
            ) from error

    LoadImageFromFile.transform = transform


def _reason(path: str | Path) -> str:
    if not os.path.exists(path):
        return 'there is no such file'
    if not os.path.isfile(path):
        return 'it is no file'
    if not os.path.getsize(path):
        return 'it is empty'
    try:
        return why_undecodable(path) or 'it is no image, or damaged'
    except OSError as error:
        return error.strerror or str(error)
